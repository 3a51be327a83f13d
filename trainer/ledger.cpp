#include "trainer/ledger.h"

#include "core/json.h"
#include "parallel/comm/agree.h"
#include "parallel/schedule.h"

namespace hone::trainer {

using core::Json;

std::string ledger_row(parallel::Mesh& mesh, int64_t step, int64_t num_micro_batches,
                       std::span<const data::MicroBatch> own) {
  Json mine = Json::array();
  for (const data::MicroBatch& micro_batch : own) mine.push_back(micro_batch.sample_ids);
  const auto texts = parallel::gather_texts(mesh.host, mine.dump());
  Json micro_batches = Json::array();
  for (int64_t i = 0; i < num_micro_batches; ++i) micro_batches.push_back(nullptr);
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    // Others on these axes compute the same micro-batches.
    const auto position = parallel::rank_position(mesh.layout, static_cast<int64_t>(rank));
    if (position.context + position.tensor + position.pipeline > 0) continue;
    const Json samples = Json::parse(texts[rank]);
    const auto numbers =
        parallel::micro_batches_of(mesh.layout, static_cast<int64_t>(rank), num_micro_batches);
    for (size_t i = 0; i < samples.size(); ++i) {
      micro_batches.at(static_cast<size_t>(numbers.at(i))) = {{"rank", rank},
                                                              {"samples", samples[i]}};
    }
  }
  return Json{{"step", step}, {"micro_batches", micro_batches}}.dump() + "\n";
}

}  // namespace hone::trainer
