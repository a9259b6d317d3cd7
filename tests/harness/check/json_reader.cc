#include "harness/check/json_reader.h"

#include <charconv>

#include <fmt/format.h>

namespace millrace::check {
namespace {

// Deeper than any line of a history; a hostile one must not exhaust the stack.
constexpr int kMaxDepth = 32;

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    *out += static_cast<char>(code);
  } else if (code < 0x800) {
    *out += static_cast<char>(0xC0 | (code >> 6));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *out += static_cast<char>(0xE0 | (code >> 12));
    *out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    *out += static_cast<char>(0xF0 | (code >> 18));
    *out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    *out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

}  // namespace

char JsonReader::Peek() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return c;
    ++position_;
  }
  return 0;
}

bool JsonReader::AtEnd() { return Peek() == 0 && position_ == text_.size(); }

bool JsonReader::Fail(std::string_view what) {
  if (error_.empty()) error_ = fmt::format("column {}: {}", position_ + 1, what);
  return false;
}

bool JsonReader::Expect(char wanted, std::string_view what) {
  if (!ok()) return false;
  if (Peek() != wanted) return Fail(fmt::format("wanted {}", what));
  ++position_;
  first_in_list_ = true;
  return true;
}

bool JsonReader::NextElement() {
  if (!ok()) return false;
  const bool first = first_in_list_;
  first_in_list_ = false;
  const char c = Peek();
  if (c == ']') {
    ++position_;
    return false;
  }
  if (first) return c != 0 || Fail("the array does not end");
  if (c != ',') return Fail("wanted ',' or ']'");
  ++position_;
  return true;
}

bool JsonReader::NextMember(std::string_view* name) {
  if (!ok()) return false;
  const bool first = first_in_list_;
  first_in_list_ = false;
  const char c = Peek();
  if (c == '}') {
    ++position_;
    return false;
  }
  if (!first) {
    if (c != ',') return Fail("wanted ',' or '}'");
    ++position_;
  }
  if (!ReadString(name)) return false;
  if (Peek() != ':') return Fail("wanted ':'");
  ++position_;
  return true;
}

bool JsonReader::ReadInt(int64_t* value) {
  if (!ok()) return false;
  Peek();
  const char* const end = text_.data() + text_.size();
  const auto [stop, error] = std::from_chars(text_.data() + position_, end, *value);
  if (error != std::errc()) return Fail("wanted a whole number of 64 bits");
  if (stop != end && (*stop == '.' || *stop == 'e' || *stop == 'E')) {
    return Fail("wanted a whole number, not a fraction");
  }
  position_ = static_cast<size_t>(stop - text_.data());
  first_in_list_ = false;
  return true;
}

bool JsonReader::ReadWord(std::string_view word) {
  if (!ok()) return false;
  Peek();
  if (text_.substr(position_, word.size()) != word) {
    return Fail(fmt::format("wanted {}", word));
  }
  position_ += word.size();
  first_in_list_ = false;
  return true;
}

bool JsonReader::ReadBool(bool* value) {
  *value = Peek() == 't';
  return ReadWord(*value ? "true" : "false");
}

bool JsonReader::ReadString(std::string_view* value) {
  if (!ok()) return false;
  if (Peek() != '"') return Fail("wanted a string");
  const size_t begin = ++position_;
  first_in_list_ = false;
  // Nearly always there is no escape, and the view goes straight into the text.
  const size_t special = text_.find_first_of("\"\\", begin);
  if (special == std::string_view::npos) return Fail("the string does not end");
  if (text_[special] == '"') {
    *value = text_.substr(begin, special - begin);
    position_ = special + 1;
    return true;
  }
  unescaped_.assign(text_.substr(begin, special - begin));
  position_ = special;
  while (position_ < text_.size() && text_[position_] != '"') {
    if (text_[position_] == '\\') {
      if (!ReadEscape()) return false;
    } else {
      unescaped_ += text_[position_++];
    }
  }
  if (position_ == text_.size()) return Fail("the string does not end");
  ++position_;
  *value = unescaped_;
  return true;
}

bool JsonReader::ReadHex4(uint32_t* code) {
  const std::string_view digits = text_.substr(position_, 4);
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, *code, 16);
  if (digits.size() != 4 || error != std::errc() || stop != end) {
    return Fail("wanted four hexadecimal digits");
  }
  position_ += 4;
  return true;
}

bool JsonReader::ReadEscape() {
  ++position_;  // the backslash
  if (position_ == text_.size()) return Fail("the string does not end");
  const char c = text_[position_++];
  constexpr std::string_view kLetters = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  if (const size_t at = kLetters.find(c); at != std::string_view::npos) {
    unescaped_ += kMeanings[at];
    return true;
  }
  if (c != 'u') return Fail("no such escape");
  uint32_t code = 0;
  if (!ReadHex4(&code)) return false;
  if (code >= 0xDC00 && code <= 0xDFFF) return Fail("half of a surrogate pair");
  if (code >= 0xD800 && code <= 0xDBFF) {
    uint32_t low = 0;
    if (text_.substr(position_, 2) != "\\u") return Fail("half of a surrogate pair");
    position_ += 2;
    if (!ReadHex4(&low)) return false;
    if (low < 0xDC00 || low > 0xDFFF) return Fail("half of a surrogate pair");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  AppendUtf8(code, &unescaped_);
  return true;
}

bool JsonReader::Skip() { return SkipNested(0); }

bool JsonReader::SkipNested(int depth) {
  if (depth > kMaxDepth) return Fail("nested too deeply");
  std::string_view text;
  switch (Peek()) {
    case '{':
      for (BeginObject(); NextMember(&text);) SkipNested(depth + 1);
      return ok();
    case '[':
      for (BeginArray(); NextElement();) SkipNested(depth + 1);
      return ok();
    case '"':
      return ReadString(&text);
    case 't':
      return ReadWord("true");
    case 'f':
      return ReadWord("false");
    case 'n':
      return ReadWord("null");
    default:
      break;
  }
  double number = 0;
  const char* const end = text_.data() + text_.size();
  const auto [stop, error] = std::from_chars(text_.data() + position_, end, number);
  if (!ok() || error != std::errc()) return Fail("wanted a value");
  position_ = static_cast<size_t>(stop - text_.data());
  first_in_list_ = false;
  return true;
}

}  // namespace millrace::check
