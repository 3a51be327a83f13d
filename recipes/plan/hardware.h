// What a rank runs on, as numbers: configs/hardware/NAME.yaml.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hone::recipes {

// Of one rank: a GPU, or the cores of a CPU that it is bound to.
struct Hardware {
  std::string name, description;
  bool is_gpu = true;
  double memory_bytes = 0;
  double reserved_bytes = 0;  // of these, what driver, libraries and program take
  double bfloat16_flops = 0, float32_flops = 0;  // dense products, a second, as the vendor says
  double matmul_share = 1;                       // of these, what a large product alone reaches
  double attention_share = 1;                    // what an attention kernel alone reaches
  double efficiency = 1;                         // of both, what those of a whole step reach
  double memory_bandwidth = 0;                   // bytes a second
  double link_bandwidth = 0;     // to ranks of the same node, bytes a second each way
  double network_bandwidth = 0;  // to those of other nodes, for one rank
  double latency_seconds = 0;    // of a message
  int64_t ranks_per_node = 1;

  // That a step reaches, a second.
  double step_flops(bool is_bfloat16) const {
    return (is_bfloat16 ? bfloat16_flops : float32_flops) * matmul_share * efficiency;
  }
  double attention_flops(bool is_bfloat16) const {
    return step_flops(is_bfloat16) * attention_share / matmul_share;
  }
};

// Throws kBadRecipe listing every problem of the text, "where:line: key: ...".
Hardware parse_hardware(const std::string& text, const std::string& name, const std::string& where);

// Of configs/hardware, built into the program: "a100", "cpu", "h100", ...
std::vector<std::string> hardware_names();

// By name, or of a file where the name ends in .yaml. Throws kUsage for a name that there is not,
// kMissingInput for such a file; `where` is what gave the name.
Hardware find_hardware(const std::string& name, const std::string& where = "--hardware");

}  // namespace hone::recipes
