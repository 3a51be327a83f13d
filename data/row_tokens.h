// A row as tokens with their mask.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"
#include "data/row_format.h"
#include "data/tokenizer.h"

namespace hone::data {

struct MaskedTokens {
  std::vector<int32_t> ids;
  std::vector<uint8_t> trained;  // 1 where the token is a training target
};

// Usually one; several when a conversation is trained turn by turn. A token is trained when any of
// its characters is. Throws kBadInput (without `where`) when the template fails or the row begins
// with BOS twice.
std::vector<MaskedTokens> tokenize_row(const Row& row, const DatasetOptions& options,
                                       const Tokenizer& tokenizer);

// Whether a run of trained tokens ends, white space aside, with a special token: the model learns
// to stop.
bool trains_end_of_turn(const MaskedTokens& row, const Tokenizer& tokenizer);

}  // namespace hone::data
