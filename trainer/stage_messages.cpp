#include "trainer/stage_messages.h"

#include <utility>

#include "core/error.h"
#include "models/row_parallel.h"

namespace hone::trainer {
namespace {

int tag_of(MessageKind kind) { return kind == MessageKind::kOutput ? 0 : 1; }

}  // namespace

void StageMessages::receive(MessageKind kind, int64_t stage, int64_t micro_batch, at::Tensor buffer,
                            int64_t peer) {
  auto request = pipeline_.start_recv(buffer.mutable_data_ptr(), buffer.numel(),
                                      models::comm_dtype(buffer.scalar_type()),
                                      static_cast<int>(peer), tag_of(kind));
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

void StageMessages::send(MessageKind kind, const at::Tensor& data, int64_t peer) {
  at::Tensor sent = data.contiguous();
  auto request = pipeline_.start_send(sent.const_data_ptr(), sent.numel(),
                                      models::comm_dtype(sent.scalar_type()),
                                      static_cast<int>(peer), tag_of(kind));
  bytes_ += static_cast<int64_t>(sent.nbytes());
  sends_.push_back({std::move(sent), std::move(request)});
}

void StageMessages::poll() {
  if (sends_.empty() && receives_.empty()) return;
  pipeline_.poll();
  sends_.remove_if([](Transfer& transfer) { return transfer.request.test(); });
}

void StageMessages::finish() {
  for (Transfer& transfer : sends_) transfer.request.wait();
  sends_.clear();
}

}  // namespace hone::trainer
