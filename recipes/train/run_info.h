// What is recorded of a run: what it is of (compared on resume) and what it was made with
// (run.json).
#pragma once

#include "core/json.h"
#include "data/tokenizer.h"
#include "recipes/inputs.h"
#include "recipes/recipe.h"
#include "recipes/train/dtype_choice.h"

namespace hone::recipes {

// Of this program: of two builds that differ at all, another.
std::string build_hash();

// Model, tokenizer, data, adapter, dtype, seed and batch geometry; keys that may change come along
// to be logged.
core::Json run_identity(const Recipe& recipe, const ResolvedInputs& inputs,
                        const PreparedData& data, const data::Tokenizer& tokenizer,
                        const DtypeChoice& dtype);

// What `hone reproduce` needs to do the run again and to tell what has changed since: resolved
// recipe and the folder it was run in, `train.identity`, revisions, data files, totals and hashes,
// dtype and why, versions, machine.
core::Json run_info(const Recipe& recipe, const ResolvedInputs& inputs, const PreparedData& data,
                    const DtypeChoice& dtype);

}  // namespace hone::recipes
