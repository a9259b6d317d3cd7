#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::check {

// Reads one JSON text from front to back without building a tree: a history has millions of short
// lines. Every call returns false once something was wrong, and error() says what and where first.
// Belongs to one thread. Borrows `text` while it reads.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  // BeginObject, then NextMember until it returns false; after each NextMember read one value.
  bool BeginObject() { return Expect('{', "an object"); }
  bool NextMember(std::string_view* name);
  // BeginArray, then NextElement until it returns false; after each NextElement read one value.
  bool BeginArray() { return Expect('[', "an array"); }
  bool NextElement();

  bool ReadInt(int64_t* value);  // a whole number that fits, nothing else
  bool ReadBool(bool* value);
  bool ReadString(std::string_view* value);  // good until the next call
  bool ReadNull() { return ReadWord("null"); }
  bool Skip();  // any one value

  char Peek();   // the first character of what comes next; 0 at the end
  bool AtEnd();  // nothing but white space is left
  size_t position() const { return position_; }

  bool Fail(std::string_view what);  // false, so that a caller can return it
  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }

 private:
  bool Expect(char wanted, std::string_view what);
  bool ReadWord(std::string_view word);
  bool ReadEscape();
  bool ReadHex4(uint32_t* code);
  bool SkipNested(int depth);

  std::string_view text_;
  size_t position_ = 0;
  std::string unescaped_;
  std::string error_;
  bool first_in_list_ = false;
};

}  // namespace millrace::check
