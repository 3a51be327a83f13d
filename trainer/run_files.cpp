#include "trainer/run_files.h"

#include "parallel/comm/agree.h"
#include "trainer/resume.h"

namespace hone::trainer {

void open_run_files(const TrainInputs& inputs, const TrainOptions& options,
                    const TrainerState& state, const RankBytes& bytes,
                    const parallel::Layout& layout, RunFiles& files) {
  files.metrics.emplace(options.output_dir / "metrics.jsonl", resume_point(inputs, options, state));
  files.run.emplace(options.output_dir / "run.json", options.run_info, inputs.model, bytes, layout);
  if (!inputs.sample_prompts.empty()) {
    files.samples.emplace(options.output_dir / "samples.jsonl", *inputs.tokenizer,
                          inputs.sample_prompts, samples_to_keep(inputs, options, state));
  }
  if (options.ledger) {
    const auto keep = [step = state.step](const core::Json& row) { return row["step"] <= step; };
    files.ledger.emplace(options.output_dir / "ledger.jsonl",
                         inputs.resume_from ? JsonlFile::Keep(keep) : JsonlFile::Keep());
  }
  if (inputs.publish) files.publisher.emplace(inputs.publish, inputs.trace);
}

RowsOfStep rows_of_step(const RunFiles& files, int64_t step, parallel::Mesh& mesh) {
  core::Json found{{"eval_row", nullptr}, {"has_samples", false}};
  if (files.metrics) {
    if (const core::Json* row = files.metrics->eval_row(step)) found["eval_row"] = *row;
  }
  if (files.samples) found["has_samples"] = files.samples->has_rows(step);
  found = core::Json::parse(parallel::text_of_first(mesh.host, found.dump()));
  return {.eval_row = found["eval_row"], .has_samples = found["has_samples"]};
}

}  // namespace hone::trainer
