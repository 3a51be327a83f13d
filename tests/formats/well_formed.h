// A look at the markup we write, without a parser for all of XML.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace hone::formats {

inline constexpr std::string_view kEntities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};

// Tags open and close in order, attributes are quoted, and '&' only starts an entity.
inline void expect_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (size_t i = 0; i < xml.size(); ++i) {
    const std::string_view rest = std::string_view(xml).substr(i);
    if (xml[i] == '&') {
      bool known = false;
      for (const std::string_view entity : kEntities) known = known || rest.starts_with(entity);
      ASSERT_TRUE(known) << rest.substr(0, 20);
    }
    if (xml[i] != '<') continue;
    const size_t end = xml.find('>', i);
    ASSERT_NE(end, std::string::npos);
    std::string tag = xml.substr(i + 1, end - i - 1);
    ASSERT_EQ(tag.find('<'), std::string::npos) << tag.substr(0, 100);
    ASSERT_EQ(std::count(tag.begin(), tag.end(), '"') % 2, 0) << tag.substr(0, 100);
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty());
      ASSERT_EQ(tag.substr(1), open.back());
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  EXPECT_TRUE(open.empty());
}

}  // namespace hone::formats
