#include "trainer/stage_messages.h"

#include <utility>

#include "core/error.h"
#include "models/row_parallel.h"

namespace hone::trainer {

void StageMessages::receive(MessageKind kind, int64_t stage, int64_t micro_batch,
                            at::Tensor buffer) {
  parallel::Communicator& link =
      kind == MessageKind::kOutput ? links_.from_below : links_.from_above;
  auto request =
      link.start_recv(buffer.mutable_data_ptr(), buffer.numel(),
                      models::comm_dtype(buffer.scalar_type()), parallel::link_peer(link));
  const bool is_new =
      receives_.try_emplace({kind, stage, micro_batch}, std::move(buffer), std::move(request))
          .second;
  if (!is_new) core::fail(core::ErrorKind::kInternal, {.what = "an activation received twice"});
}

at::Tensor StageMessages::take(MessageKind kind, int64_t stage, int64_t micro_batch) {
  const auto found = receives_.find({kind, stage, micro_batch});
  if (found == receives_.end()) return {};
  found->second.request.wait();
  at::Tensor data = std::move(found->second.data);
  receives_.erase(found);
  return data;
}

void StageMessages::send(MessageKind kind, const at::Tensor& data) {
  parallel::Communicator& link = kind == MessageKind::kOutput ? links_.to_above : links_.to_below;
  at::Tensor sent = data.contiguous();
  auto request = link.start_send(sent.const_data_ptr(), sent.numel(),
                                 models::comm_dtype(sent.scalar_type()), parallel::link_peer(link));
  bytes_ += static_cast<int64_t>(sent.nbytes());
  sends_.push_back({std::move(sent), std::move(request)});
}

void StageMessages::poll() {
  if (sends_.empty() && receives_.empty()) return;
  // Over nccl this is what launches them.
  for (parallel::Communicator* link :
       {&links_.from_below, &links_.to_above, &links_.from_above, &links_.to_below})
    link->poll();
  sends_.remove_if([](Transfer& transfer) { return transfer.request.test(); });
}

void StageMessages::finish() {
  for (Transfer& transfer : sends_) transfer.request.wait();
  sends_.clear();
}

}  // namespace hone::trainer
