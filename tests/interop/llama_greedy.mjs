// llama.cpp on a list of jobs: node llama_greedy.mjs LLAMA_FOLDER JOBS.json RESULTS.json
// A job is {file, texts, prompt, tokens}: `texts` are tokenized, `prompt` is continued greedily by `tokens` tokens.
import {readFileSync, writeFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const [, , folder, input, output] = process.argv;
const {getLlama} = await import(pathToFileURL(`${folder}/node_modules/node-llama-cpp/dist/index.js`));
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error", maxThreads: 1});
const results = [];
for (const job of JSON.parse(readFileSync(input))) {
  const model = await llama.loadModel({modelPath: job.file, gpuLayers: 0});
  const result = {texts: job.texts.map((text) => [...model.tokenize(text, true)])};
  if (job.tokens > 0) {
    const context = await model.createContext({contextSize: 256, flashAttention: false});
    const sequence = context.getSequence();
    const generated = [];
    result.prompt = [...model.tokenize(job.prompt, true)];
    for await (const token of sequence.evaluate(result.prompt, {temperature: 0, yieldEogToken: true})) {
      generated.push(token);
      if (generated.length >= job.tokens || model.isEogToken(token)) break;
    }
    result.generated = generated;
    result.text = model.detokenize(generated, false);
    await context.dispose();
  }
  await model.dispose();
  results.push(result);
}
writeFileSync(output, JSON.stringify(results));
await llama.dispose();
