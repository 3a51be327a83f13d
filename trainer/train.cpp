#include "trainer/train.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/text.h"
#include "parallel/schedule.h"
#include "trainer/checkpoint.h"
#include "trainer/evaluate.h"
#include "trainer/metrics.h"
#include "trainer/model_files.h"
#include "trainer/process_stats.h"
#include "trainer/progress.h"
#include "trainer/resume.h"
#include "trainer/run_file.h"
#include "trainer/schedule.h"
#include "trainer/selection.h"
#include "trainer/signals.h"
#include "trainer/step.h"
#include "trainer/throughput.h"
#include "trainer/timeline.h"

namespace hone::trainer {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

core::Json datasets_json(const SourceLosses& losses, const std::vector<std::string>& names) {
  return losses.empty() ? core::Json() : losses_json(losses, names);
}

class Run {
 public:
  Run(const TrainInputs& inputs, const TrainOptions& options)
      : inputs_(inputs),
        options_(options),
        rate_(make_learning_rate(options.schedule, options.max_steps)),
        optimizer_(make_optimizer_state(inputs.model)),
        stages_(describe_stages(inputs.model)),
        state_(start_state(inputs, options, optimizer_, rate_.horizon)),
        metrics_(options.output_dir / "metrics.jsonl", resume_point(inputs, options, state_)),
        run_file_(options.output_dir / "run.json", options.run_info, inputs.model, optimizer_,
                  layout_),
        progress_(state_.step, options.max_steps),
        timeline_(inputs.trace),
        throughput_(count_flops(inputs.model), options.gemm_rate),
        first_step_(state_.step) {
    if (inputs.resume_from) saved_step_ = state_.step;
    if (!inputs.sample_prompts.empty()) {
      samples_.emplace(options.output_dir / "samples.jsonl", *inputs.tokenizer,
                       Samples::Options{.prompts = inputs.sample_prompts,
                                        .max_new_tokens = options.samples.max_new_tokens,
                                        .eos_token_ids = inputs.eos_token_ids},
                       samples_to_keep(inputs, options, state_));
    }
    if (inputs.publish) publisher_.emplace(inputs.publish, inputs.trace);
    if (const core::Json* row = metrics_.eval_row(state_.step)) eval_row_ = *row;
    result_.first_eval_loss = state_.first_eval_loss;
  }

  TrainResult train() {
    tell(RunMoment::kStarted);
    try {
      loop();
      result_.step = result_.model_step = state_.step;
      result_.model_eval_loss = result_.last_eval_loss;
      if (!result_.stopped_by_signal) finish();
      report();
      run_file_.finish(result_);
      if (const std::string formula = throughput_.formula(); !formula.empty())
        progress_.message("throughput: " + formula);
    } catch (const std::exception& error) {
      run_file_.fail(state_.step, error.what());
      tell(RunMoment::kEnded);
      throw;
    }
    tell(RunMoment::kEnded);
    return result_;
  }

 private:
  void tell(RunMoment moment) const {
    if (inputs_.on_moment) inputs_.on_moment(moment);
  }

  void loop() {
    evaluate_if_due();
    count_evaluation();
    sample_if_due();
    while (!is_last() && !signals_.requested()) {
      step();
      log_if_due();
      evaluate_if_due();
      const bool is_best = count_evaluation();
      sample_if_due();
      if (is_due(state_.step, options_.save_steps) ||
          (is_best && options_.selection.load_best_model_at_end)) {
        save();
      }
    }
    end();
  }

  // Early stopping is known only after the step's evaluation: what the last step gets comes now.
  void end() {
    result_.stopped_by_signal = should_stop();
    result_.stopped_early = stops_early();
    if (state_.step > first_step_) log_if_due();
    sample_if_due();
    save();
    if (result_.stopped_by_signal) {
      progress_.message("stopped by signal " + std::to_string(signals_.number()) + " after step " +
                        std::to_string(state_.step) + "; go on with --resume");
    } else if (result_.stopped_early) {
      progress_.message(
          fmt::format("stopped early after step {}: {} was best at step {}, {} evaluations ago",
                      state_.step, options_.selection.metric, state_.selection.best_step,
                      state_.selection.num_bad_evaluations));
    }
  }

  // The model that was asked for goes into the output folder.
  void finish() {
    SelectionState best = state_.selection;
    if (!eval_row_.is_null() && eval_row_["step"] == state_.step && state_.step > 0) {
      // The evaluation after the last step may be one that a longer run would not have.
      take_evaluation(options_.selection, eval_row_, best);
      result_.last_eval_loss = result_.model_eval_loss = eval_row_["eval_loss"].get<double>();
    }
    if (options_.selection.load_best_model_at_end && best.best_metric) load_best(best);
    write_model_files(options_.output_dir, inputs_.model, inputs_.model_folder,
                      options_.save_dtype);
    run_file_.set_best(selection_json(options_.selection, best));
    if (!publisher_) return;
    publisher_->wait();
    run_file_.set_pushes(publisher_->json());
  }

  void load_best(const SelectionState& best) {
    result_.model_step = best.best_step;
    result_.model_eval_loss = best.best_eval_loss;
    if (best.best_step == state_.step) return;
    const fs::path path = checkpoint_of_step(inputs_, options_, best.best_step);
    verify_checkpoint(path);
    load_checkpoint(path, inputs_.model, optimizer_);
    progress_.message(fmt::format("the best model is that of step {} ({} {:.4f}), from {}",
                                  best.best_step, options_.selection.metric, *best.best_metric,
                                  path.string()));
  }

  void report() { run_file_.set_measurements(timeline_.seconds(), throughput_.json()); }

  bool stops_early() const { return wants_early_stop(options_.selection, state_.selection); }
  bool is_last() const { return state_.step >= options_.max_steps || stops_early(); }
  bool should_stop() const { return signals_.requested() && !is_last(); }

  // Evaluations at eval_steps are those that every run over these steps has, so only they may
  // change how it goes on. Returns whether this step has one, and the best so far.
  bool count_evaluation() {
    const bool counts = !eval_row_.is_null() && eval_row_["step"] == state_.step &&
                        state_.step > 0 && is_due(state_.step, options_.eval_steps);
    return counts && take_evaluation(options_.selection, eval_row_, state_.selection);
  }

  void note_first_forward() {
    if (startup_noted_) return;
    startup_noted_ = true;
    run_file_.set_startup_seconds(seconds_since_process_start());
  }

  std::vector<data::MicroBatch> read_micro_batches() {
    const Timeline::Span span = timeline_.part(Part::kData);
    std::vector<data::MicroBatch> micro_batches;
    for (int64_t i = 0; i < inputs_.train_data.num_micro_batches(state_.step); ++i) {
      micro_batches.push_back(inputs_.train_data.micro_batch(state_.step, i));
    }
    return micro_batches;
  }

  void step() {
    const auto start = Clock::now();
    const int64_t since_start = state_.step - first_step_ - options_.profile.first_step;
    timeline_.trace_details(since_start >= 0 && since_start < options_.profile.num_steps);
    std::vector<data::MicroBatch> micro_batches;
    {
      const Timeline::Span span = timeline_.slice("step");
      micro_batches = read_micro_batches();
      run_actions(micro_batches);
    }
    ++state_.step;
    state_.num_tokens += last_step_.num_tokens;
    state_.loss_sum += last_step_.loss_sum;
    state_.loss_tokens += last_step_.num_trained_tokens;
    add_losses(last_step_.by_source, state_.by_source);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    throughput_.add_step(micro_batches, seconds);
    timeline_.counter("tokens/s", static_cast<double>(last_step_.num_tokens) / seconds);
    if (timeline_.traces())
      timeline_.counter("memory, MB", 1e-6 * static_cast<double>(resident_bytes()));
    result_.last_loss = last_step_.loss_sum /
                        static_cast<double>(std::max<int64_t>(1, last_step_.num_trained_tokens));
    progress_.step_done(state_.step, result_.last_loss, throughput_.row().tokens_per_second());
  }

  void run_actions(std::span<const data::MicroBatch> micro_batches) {
    const auto actions =
        parallel::make_step(stages_, layout_, 0,
                            {.num_micro_batches = static_cast<int64_t>(micro_batches.size()),
                             .recompute = options_.gradient_checkpointing});
    note_first_forward();
    last_step_ = run_step(inputs_.model, optimizer_, actions, micro_batches,
                          {.step = state_.step,
                           .seed = options_.seed,
                           .learning_rate = rate_.at(state_.step),
                           .optimizer = options_.optimizer,
                           .timeline = &timeline_,
                           .num_sources = inputs_.train_data.num_sources()});
  }

  // The last step gets a row in any case; unless one is due there the counters go on as if it had
  // none, so that a run that is prolonged later has the rows of one that was never interrupted.
  void log_if_due() {
    const bool due = is_due(state_.step, options_.logging_steps);
    if ((!due && !is_last()) || logged_step_ == state_.step) return;
    logged_step_ = state_.step;
    const TrainRow row{
        .step = state_.step,
        .loss = state_.loss_sum / static_cast<double>(std::max<int64_t>(1, state_.loss_tokens)),
        .learning_rate = rate_.at(state_.step - 1),
        .grad_norm = last_step_.grad_norm,
        .num_tokens = state_.num_tokens,
        .tokens_per_second = throughput_.row().tokens_per_second(),
        .flops_share = throughput_.share(throughput_.row()),
        .datasets = datasets_json(state_.by_source, inputs_.train_names)};
    metrics_.append(train_row_json(row));
    progress_.row_logged(row);
    tell(RunMoment::kRow);
    if (!due) return;
    state_.loss_sum = 0;
    state_.loss_tokens = 0;
    state_.by_source.clear();
    throughput_.end_row();
  }

  bool evaluation_is_due() const {
    if (inputs_.eval_data == nullptr || metrics_.eval_row(state_.step) != nullptr) return false;
    return state_.step == 0 || is_last() || is_due(state_.step, options_.eval_steps);
  }

  void evaluate_if_due() {
    if (!evaluation_is_due()) return;
    note_first_forward();
    const Timeline::Span span = timeline_.part(Part::kEvaluate);
    const auto evaluated =
        evaluate(inputs_.model, *inputs_.eval_data,
                 {.progress = [&](double fraction) { progress_.evaluating(fraction); },
                  .should_stop = [&] { return should_stop(); }});
    if (!evaluated) return;  // its row is made when the run goes on
    const std::string row = eval_row_json(state_.step, evaluated->loss,
                                          datasets_json(evaluated->by_source, inputs_.eval_names));
    metrics_.append(row);
    eval_row_ = core::Json::parse(row);
    progress_.message(fmt::format("step {}: held-out loss {:.4f}, perplexity {:.3f}", state_.step,
                                  evaluated->loss, evaluated->perplexity));
    if (state_.step == 0) state_.first_eval_loss = result_.first_eval_loss = evaluated->loss;
    result_.last_eval_loss = evaluated->loss;
    tell(RunMoment::kEvaluated);
  }

  void sample_if_due() {
    if (!samples_ || samples_->has_rows(state_.step)) return;
    const bool due = state_.step == 0 || is_last() || is_due(state_.step, options_.samples.steps);
    if (!due || should_stop()) return;
    note_first_forward();
    const Timeline::Span span = timeline_.part(Part::kGenerate);
    samples_->write(
        inputs_.model, state_.step, [&] { return should_stop(); },
        [&](const SamplePrompt& prompt, const std::string& text) {
          progress_.message(fmt::format("step {}: \"{}\" -> \"{}\"", state_.step,
                                        core::excerpt(prompt.text), core::excerpt(text, 300)));
        });
    tell(RunMoment::kSampled);
  }

  void save() {
    if (saved_step_ == state_.step) return;
    const Timeline::Span span = timeline_.part(Part::kSave);
    metrics_.sync();
    if (samples_) samples_->sync();
    const fs::path path =
        save_checkpoint(options_.output_dir, {.model = inputs_.model,
                                              .optimizer = optimizer_,
                                              .state = state_,
                                              .model_folder = inputs_.model_folder,
                                              .save_dtype = options_.save_dtype,
                                              .identity = options_.identity});
    saved_step_ = state_.step;
    progress_.message("saved " + path.string());
    report();
    run_file_.set_best(selection_json(options_.selection, state_.selection));
    if (publisher_ && !is_last() && !signals_.requested()) publisher_->offer(path);
    delete_old_checkpoints(options_.output_dir, path, options_.save_total_limit,
                           protected_checkpoints());
  }

  std::vector<fs::path> protected_checkpoints() {
    std::vector<fs::path> paths;
    if (options_.selection.keep_best && state_.selection.best_metric)
      paths.push_back(checkpoint_path(options_.output_dir, state_.selection.best_step));
    if (publisher_) {
      if (const auto path = publisher_->in_flight()) paths.push_back(*path);
    }
    return paths;
  }

  const TrainInputs& inputs_;
  const TrainOptions& options_;
  const parallel::Layout layout_;
  const LearningRate rate_;
  OptimizerState optimizer_;
  const std::vector<parallel::StageDescriptor> stages_;
  TrainerState state_;
  MetricsFile metrics_;
  RunFile run_file_;
  Progress progress_;
  Timeline timeline_;
  Throughput throughput_;
  const int64_t first_step_;  // of this process
  std::optional<Samples> samples_;
  std::optional<Publisher> publisher_;
  StopSignals signals_;
  StepResult last_step_;
  TrainResult result_;
  core::Json eval_row_;  // the last one
  int64_t saved_step_ = -1, logged_step_ = -1;
  bool startup_noted_ = false;
};

}  // namespace

TrainResult train(const TrainInputs& inputs, const TrainOptions& options) {
  core::make_folders(options.output_dir);
  remove_stale_temporaries(options.output_dir);
  return Run(inputs, options).train();
}

}  // namespace hone::trainer
