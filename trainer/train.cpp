#include "trainer/train.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/text.h"
#include "parallel/comm/agree.h"
#include "parallel/schedule.h"
#include "trainer/agreed_stop.h"
#include "trainer/checkpoint.h"
#include "trainer/checkpoint_save.h"
#include "trainer/communication_count.h"
#include "trainer/evaluate.h"
#include "trainer/gather.h"
#include "trainer/ledger.h"
#include "trainer/process_stats.h"
#include "trainer/progress.h"
#include "trainer/rank_bytes.h"
#include "trainer/resume.h"
#include "trainer/run_files.h"
#include "trainer/run_saves.h"
#include "trainer/schedule.h"
#include "trainer/selection.h"
#include "trainer/step.h"
#include "trainer/step_actions.h"
#include "trainer/step_numbers.h"
#include "trainer/throughput.h"
#include "trainer/timeline.h"

namespace hone::trainer {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

class Run {
 public:
  // Collective over the mesh, as all that is called on every rank.
  Run(const TrainInputs& inputs, const TrainOptions& options, parallel::Mesh& mesh)
      : inputs_(inputs),
        options_(options),
        mesh_(mesh),
        rate_(make_learning_rate(options.schedule, options.max_steps)),
        optimizer_(make_optimizer_state(inputs.model)),
        state_(start_together(inputs, options, mesh, optimizer_, rate_.horizon, load_seconds_)),
        progress_(state_.step, options.max_steps, mesh.rank == 0),
        timeline_(inputs.trace, mesh.record),
        throughput_(count_flops(inputs.model),
                    options.gemm_rate * static_cast<double>(mesh.host.size())),
        first_step_(state_.step),
        stop_(mesh),
        saves_(inputs, options, mesh, files_, progress_, timeline_, [this] { report(); }) {
    const RankBytes bytes =
        gather_rank_bytes(mesh, inputs.model, optimizer_, planned_activations());
    parallel::on_first(mesh_.host, [&] {
      open_run_files(inputs, options, state_, bytes, mesh.layout, files_);
      if (inputs.resume_from) {
        files_.run->set_resume(num_bytes_of(*inputs.resume_from), inputs.verify_seconds,
                               load_seconds_);
      }
    });
    const RowsOfStep rows = rows_of_step(files_, state_.step, mesh_);
    eval_row_ = rows.eval_row;
    if (rows.has_samples) sampled_step_ = state_.step;
    if (inputs.resume_from) saved_step_ = state_.step;
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
      if (files_.run) files_.run->finish(result_);
      if (const std::string formula = throughput_.formula(); !formula.empty())
        progress_.message("throughput: " + formula);
    } catch (const parallel::AgreedError& error) {
      saves_.keep_under_way();
      fail(error);
      throw;
    } catch (const std::exception& error) {
      fail(error);
      throw;
    }
    tell(RunMoment::kEnded);
    return result_;
  }

 private:
  void fail(const std::exception& error) {
    if (files_.run) files_.run->fail(state_.step, error.what());
    tell(RunMoment::kEnded);
  }

  void tell(RunMoment moment) const {
    if (inputs_.on_moment) inputs_.on_moment(moment);
  }

  void loop() {
    evaluate_if_due();
    count_evaluation();
    sample_if_due();
    while (!is_last() && !stop_.agree()) {
      step();
      saves_.advance();
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
    saves_.finish();
    if (result_.stopped_by_signal) {
      progress_.message("stopped by signal " + std::to_string(stop_.number()) + " after step " +
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
    save_final_model(options_.output_dir, inputs_.model, inputs_.model_folder, options_.save_dtype,
                     mesh_);
    if (files_.run) files_.run->set_best(selection_json(options_.selection, best));
    if (!files_.publisher) return;
    files_.publisher->wait();
    files_.run->set_pushes(files_.publisher->json());
  }

  void load_best(const SelectionState& best) {
    result_.model_step = best.best_step;
    result_.model_eval_loss = best.best_eval_loss;
    if (best.best_step == state_.step) return;
    const fs::path path = checkpoint_of_step(inputs_, options_, best.best_step);
    parallel::together(mesh_.host, [&] {
      if (mesh_.rank == 0) verify_checkpoint(path);
      load_checkpoint(path, inputs_.model, optimizer_);
    });
    share_parameters(inputs_.model, mesh_);
    progress_.message(fmt::format("the best model is that of step {} ({} {:.4f}), from {}",
                                  best.best_step, options_.selection.metric, *best.best_metric,
                                  path.string()));
  }

  void report() {
    const std::vector<int64_t> peak_bytes = gather_peak_bytes(mesh_);
    if (files_.run)
      files_.run->set_measurements(timeline_.seconds(), throughput_.json(), peak_bytes);
  }

  bool stops_early() const { return wants_early_stop(options_.selection, state_.selection); }
  bool is_last() const { return state_.step >= options_.max_steps || stops_early(); }
  bool should_stop() const { return stop_.agreed() && !is_last(); }

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
    if (files_.run) files_.run->set_startup_seconds(seconds_since_process_start());
  }

  std::vector<data::MicroBatch> read_micro_batches() {
    const Timeline::Span span = timeline_.part(Part::kData);
    std::vector<data::MicroBatch> micro_batches;
    for (const int64_t i : parallel::micro_batches_of(
             mesh_.layout, mesh_.rank, inputs_.train_data.num_micro_batches(state_.step))) {
      micro_batches.push_back(inputs_.train_data.micro_batch(state_.step, i));
    }
    return micro_batches;
  }

  void step() {
    const auto start = Clock::now();
    const int64_t since_start = state_.step - first_step_ - options_.profile.first_step;
    if (mesh_.record) mesh_.record->set_step(state_.step);
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
    if (inputs_.on_first_step && state_.step == first_step_ + 1) inputs_.on_first_step(seconds);
    throughput_.add_step(last_step_.num_tokens, last_step_.num_trained_tokens, last_step_.sums,
                         seconds);
    communication_.add_bytes(last_step_.comm_bytes);
    timeline_.counter("tokens/s", static_cast<double>(last_step_.num_tokens) / seconds);
    if (timeline_.traces())
      timeline_.counter("memory, MB", 1e-6 * static_cast<double>(resident_bytes()));
    result_.last_loss = last_step_.loss_sum /
                        static_cast<double>(std::max<int64_t>(1, last_step_.num_trained_tokens));
    progress_.step_done(state_.step, result_.last_loss, throughput_.row().tokens_per_second());
  }

  // Of ranks that compute the same micro-batches one counts them.
  std::vector<double> flops_to_sum(std::span<const data::MicroBatch> micro_batches) const {
    const bool counts = tells_numbers(inputs_.model, mesh_);
    return throughput_.flops_of(counts ? micro_batches : std::span<const data::MicroBatch>());
  }

  // Of a first step, which has as many micro-batches as any.
  int64_t planned_activations() const {
    const int64_t count = inputs_.train_data.num_micro_batches(0);
    const auto actions = actions_of_step(inputs_.model, mesh_, options_, count);
    return activation_bytes(inputs_.model, mesh_, actions, options_.micro_batch_tokens);
  }

  void run_actions(std::span<const data::MicroBatch> micro_batches) {
    const int64_t num_micro_batches = inputs_.train_data.num_micro_batches(state_.step);
    if (options_.ledger) {
      const std::string row = ledger_row(mesh_, state_.step + 1, num_micro_batches, micro_batches);
      if (files_.ledger) files_.ledger->append(row);
    }
    const auto actions = actions_of_step(inputs_.model, mesh_, options_, num_micro_batches);
    note_first_forward();
    last_step_ = run_step(inputs_.model, optimizer_, actions, micro_batches,
                          {.step = state_.step,
                           .seed = options_.seed,
                           .learning_rate = rate_.at(state_.step),
                           .optimizer = options_.optimizer,
                           .timeline = &timeline_,
                           .num_sources = inputs_.train_data.num_sources(),
                           .mesh = &mesh_,
                           .strict = options_.strict,
                           .overlap_reduce = options_.overlap_reduce,
                           .num_micro_batches = num_micro_batches,
                           .num_trained_tokens = inputs_.train_data.num_trained_tokens(state_.step),
                           .to_sum = flops_to_sum(micro_batches),
                           .before_update = [&] { saves_.wait_until_read(); }});
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
        .datasets = losses_json(state_.by_source, inputs_.train_names),
        .communication = communication_.take(mesh_, timeline_.seconds_of(Part::kCommunicate))};
    if (files_.metrics) files_.metrics->append(train_row_json(row));
    progress_.row_logged(row);
    tell(RunMoment::kRow);
    if (!due) return;
    state_.loss_sum = 0;
    state_.loss_tokens = 0;
    state_.by_source.clear();
    throughput_.end_row();
  }

  bool has_eval_row() const { return !eval_row_.is_null() && eval_row_["step"] == state_.step; }

  bool evaluation_is_due() const {
    if (inputs_.eval_data == nullptr || has_eval_row()) return false;
    return state_.step == 0 || is_last() || is_due(state_.step, options_.eval_steps);
  }

  void evaluate_if_due() {
    if (!evaluation_is_due()) return;
    note_first_forward();
    const Timeline::Span span = timeline_.part(Part::kEvaluate);
    const auto evaluated =
        evaluate(inputs_.model, *inputs_.eval_data, mesh_,
                 {.progress = [&](double fraction) { progress_.evaluating(fraction); },
                  .should_stop = [&] { return stop_.agree() && should_stop(); }});
    if (!evaluated) return;  // its row is made when the run goes on
    const std::string row = eval_row_json(state_.step, evaluated->loss,
                                          losses_json(evaluated->by_source, inputs_.eval_names));
    if (files_.metrics) files_.metrics->append(row);
    eval_row_ = core::Json::parse(row);
    progress_.message(fmt::format("step {}: held-out loss {:.4f}, perplexity {:.3f}", state_.step,
                                  evaluated->loss, evaluated->perplexity));
    if (state_.step == 0) state_.first_eval_loss = result_.first_eval_loss = evaluated->loss;
    result_.last_eval_loss = evaluated->loss;
    tell(RunMoment::kEvaluated);
  }

  // The ranks of the first whole model generate and rank 0 writes; the others wait.
  void sample_if_due() {
    if (inputs_.sample_prompts.empty() || sampled_step_ == state_.step) return;
    const bool due = state_.step == 0 || is_last() || is_due(state_.step, options_.samples.steps);
    if (!due || should_stop()) return;
    note_first_forward();
    const Timeline::Span span = timeline_.part(Part::kGenerate);
    const WholeModel whole(inputs_.model, mesh_);
    parallel::together(mesh_.host, [&] {
      if (mesh_.is_in_first_model()) sample();
    });
    if (!stop_.agree() || is_last()) sampled_step_ = state_.step;
    tell(RunMoment::kSampled);
  }

  void sample() {
    const auto ids = generate_samples(inputs_.model,
                                      {.prompts = inputs_.sample_prompts,
                                       .max_new_tokens = options_.samples.max_new_tokens,
                                       .eos_token_ids = inputs_.eos_token_ids},
                                      [&] { return stop_.requested_in_model() && !is_last(); });
    if (!ids || !files_.samples) return;
    files_.samples->write(
        state_.step, *ids, [&](const SamplePrompt& prompt, const std::string& text) {
          progress_.message(fmt::format("step {}: \"{}\" -> \"{}\"", state_.step,
                                        core::excerpt(prompt.text), core::excerpt(text, 300)));
        });
  }

  void save() {
    if (saved_step_ == state_.step) return;
    saves_.start(optimizer_, state_, !is_last() && !stop_.agreed());
    saved_step_ = state_.step;
  }

  const TrainInputs& inputs_;
  const TrainOptions& options_;
  parallel::Mesh& mesh_;
  const LearningRate rate_;
  OptimizerState optimizer_;
  double load_seconds_ = 0;  // of the checkpoint
  TrainerState state_;
  RunFiles files_;
  Progress progress_;
  Timeline timeline_;
  Throughput throughput_;
  const int64_t first_step_;  // of this process
  AgreedStop stop_;
  RunSaves saves_;
  StepResult last_step_;
  TrainResult result_;
  core::Json eval_row_;  // the last one
  int64_t saved_step_ = -1, logged_step_ = -1, sampled_step_ = -1;
  CommunicationCount communication_;
  bool startup_noted_ = false;
};

}  // namespace

TrainResult train(const TrainInputs& inputs, const TrainOptions& options) {
  std::optional<parallel::Mesh> own_mesh;
  if (inputs.mesh == nullptr) own_mesh = parallel::solo_mesh();
  parallel::Mesh& mesh = own_mesh ? *own_mesh : *inputs.mesh;
  parallel::on_first(mesh.host, [&] {
    core::make_folders(options.output_dir);
    remove_stale_temporaries(options.output_dir);
  });
  return Run(inputs, options, mesh).train();
}

}  // namespace hone::trainer
