// Full fine-tuning with an objective of one's own: the first tokens of every answer weigh more than
// the others, because an answer that begins wrong seldom ends well.
//
//   custom_objective MODEL ROWS.jsonl OUTPUT [STEPS]
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>

#include "data/loader.h"
#include "data/tokenizer.h"
#include "kernels/allocator.h"
#include "models/load.h"
#include "trainer/train.h"

namespace {

using namespace hone;

// True for the first `count` trained tokens of every run of them.
at::Tensor first_of_answers(const at::Tensor& labels_T, int64_t count) {
  const at::Tensor is_first = at::zeros_like(labels_T, at::kBool);
  int64_t place = 0;
  for (int64_t i = 0; i < labels_T.numel(); ++i) {
    place = labels_T[i].item<int64_t>() == -100 ? 0 : place + 1;
    if (place >= 1 && place <= count) is_first[i] = true;
  }
  return is_first;
}

// A model's head takes the last block's output to the loss and adds the gradients of its own
// weights. This one is two calls of the model's: sums of losses have sums of gradients.
void weigh_first_tokens(models::Model& model, int64_t count, double weight) {
  const auto plain = model.head;
  model.head = [plain, count, weight](const at::Tensor& x_TD, const models::Batch& batch,
                                      double loss_scale, bool want_grad,
                                      const models::ForwardContext& context) {
    const at::Tensor is_first = first_of_answers(batch.labels_T, count);
    models::Batch first = batch, rest = batch;
    first.labels_T = batch.labels_T.masked_fill(is_first.logical_not(), -100);
    rest.labels_T = batch.labels_T.masked_fill(is_first, -100);
    kernels::HeadLoss loss = plain(x_TD, first, weight * loss_scale, want_grad, context);
    const kernels::HeadLoss others = plain(x_TD, rest, loss_scale, want_grad, context);
    loss.loss_sum = weight * loss.loss_sum + others.loss_sum;
    loss.losses.insert(loss.losses.end(), others.losses.begin(), others.losses.end());
    if (want_grad) loss.grad_x_TD = loss.grad_x_TD + others.grad_x_TD;
    return loss;
  };
}

void train(const std::filesystem::path& folder, const char* rows, const char* output,
           int64_t steps) {
  kernels::install_caching_allocator();
  models::Model model = models::load_model(folder, {.train_base = true});
  weigh_first_tokens(model, /*count=*/3, /*weight=*/2.0);
  const data::Tokenizer tokenizer = data::Tokenizer::load(folder);
  const data::DatasetSource source{.path = rows, .where = rows};
  const std::filesystem::path cache = std::filesystem::path(output) / "tokens";
  const data::Loader loader(
      data::prepare_dataset({source}, {.max_length = 64, .assistant_only_loss = true}, tokenizer,
                            cache),
      {.packing = true, .max_length = 64});
  trainer::TrainOptions options{
      .max_steps = steps, .logging_steps = 1, .output_dir = std::filesystem::path(output) / "run"};
  options.schedule.learning_rate = 1e-3;
  const trainer::TrainResult result = trainer::train(
      {.model = model, .train_data = loader, .model_folder = folder, .tokenizer = &tokenizer},
      options);
  std::printf("%lld steps, last loss %.4f\n", static_cast<long long>(result.step),
              result.last_loss);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("usage: custom_objective MODEL ROWS.jsonl OUTPUT [STEPS]\n", stderr);
    return 64;
  }
  try {
    train(argv[1], argv[2], argv[3], argc > 4 ? std::atoll(argv[4]) : 10);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
