#include "trainer/regroup.h"

#include <algorithm>

#include "core/error.h"

namespace hone::trainer {

using data::MicroBatch;

namespace {

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from, size_t begin, size_t end) {
  if (from.size() < end) return;  // a field that is not filled stays so
  to.insert(to.end(), from.begin() + static_cast<std::ptrdiff_t>(begin),
            from.begin() + static_cast<std::ptrdiff_t>(end));
}

void append_document(const MicroBatch& from, size_t document, MicroBatch& to) {
  const auto begin = static_cast<size_t>(from.cu_doc_lens[document]);
  const auto end = static_cast<size_t>(from.cu_doc_lens[document + 1]);
  append(to.input_ids, from.input_ids, begin, end);
  append(to.position_ids, from.position_ids, begin, end);
  append(to.labels, from.labels, begin, end);
  append(to.sample_ids, from.sample_ids, document, document + 1);
  append(to.source_ids, from.source_ids, document, document + 1);
  if (to.cu_doc_lens.empty()) to.cu_doc_lens.push_back(0);
  to.cu_doc_lens.push_back(static_cast<int32_t>(to.input_ids.size()));
  to.num_trained_tokens += static_cast<int64_t>(end - begin) -
                           std::count(from.labels.begin() + from.cu_doc_lens[document],
                                      from.labels.begin() + from.cu_doc_lens[document + 1], -100);
}

}  // namespace

MicroBatch merge_micro_batches(std::span<const MicroBatch> micro_batches) {
  MicroBatch merged;
  for (const MicroBatch& micro_batch : micro_batches) {
    for (size_t i = 0; i + 1 < micro_batch.cu_doc_lens.size(); ++i)
      append_document(micro_batch, i, merged);
  }
  return merged;
}

std::vector<MicroBatch> split_documents(std::span<const MicroBatch> micro_batches) {
  std::vector<MicroBatch> documents;
  for (const MicroBatch& micro_batch : micro_batches) {
    for (size_t i = 0; i + 1 < micro_batch.cu_doc_lens.size(); ++i)
      append_document(micro_batch, i, documents.emplace_back());
  }
  return documents;
}

MicroBatch pad_document(const MicroBatch& document, int64_t length, int32_t pad_id) {
  if (document.cu_doc_lens.size() != 2) {
    core::fail(core::ErrorKind::kInternal, {.what = "only one document can be padded"});
  }
  MicroBatch padded = document;
  for (auto i = static_cast<int64_t>(document.input_ids.size()); i < length; ++i) {
    padded.input_ids.push_back(pad_id);
    padded.position_ids.push_back(static_cast<int32_t>(i));
    padded.labels.push_back(-100);
  }
  padded.cu_doc_lens.back() = static_cast<int32_t>(padded.input_ids.size());
  return padded;
}

}  // namespace hone::trainer
