#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "millrace/record.h"
#include "millrace/status.h"

namespace millrace::cli {

// kcat's -f: text in which a token stands for a part of the record, and \n, \t and the like for
// theirs.
//   %s value  %S its length (-1: null)  %R its length as four bytes, big endian
//   %k key    %K its length (-1: null)  %T timestamp in ms  %h headers as a=1,b=2
//   %t topic  %p partition  %o offset   %% a percent sign
// Thread-compatible.
class RecordFormat {
 public:
  static StatusOr<RecordFormat> Parse(std::string_view format);
  // `null_text` stands for a null key, value or header value.
  void Append(const RecordView& record, std::string_view null_text, std::string* out) const;

 private:
  struct Piece {
    char token = 0;  // 0: literal
    std::string literal;
  };
  std::vector<Piece> pieces_;
};

// The record as one line of JSON, without its end.
std::string RecordAsJson(const RecordView& record);

}  // namespace millrace::cli
