// What a training step is fed: documents laid end to end, with no padding between them.
#pragma once

#include <cstdint>
#include <vector>

namespace hone::data {

struct MicroBatch {
  std::vector<int32_t> input_ids;     // [T] tokens of all documents
  std::vector<int32_t> position_ids;  // [T] 0 at each document's first token
  std::vector<int32_t>
      labels;  // [T] the next token where it is trained, else -100; shifted already
  std::vector<int32_t> cu_doc_lens;  // [num_docs + 1] offsets of the documents, first 0, last T
  std::vector<int64_t> sample_ids;   // [num_docs] row of the token cache each document came from
  std::vector<int32_t> source_ids;   // [num_docs] which of the datasets it is from
  int64_t num_trained_tokens = 0;    // labels that are not -100
};

}  // namespace hone::data
