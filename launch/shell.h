// Words of a command as a shell reads them.
#pragma once

#include <string>
#include <vector>

namespace hone::launch {

// The word as it is when it needs no quotes, else in single quotes.
std::string shell_word(const std::string& word);
std::string shell_line(const std::vector<std::string>& words);

}  // namespace hone::launch
