#pragma once

#include <utility>

#include <absl/status/statusor.h>

#define MILLRACE_RETURN_IF_ERROR(expr)                                                        \
  do {                                                                                        \
    if (absl::Status millrace_status = (expr); !millrace_status.ok()) return millrace_status; \
  } while (false)

// NOLINTBEGIN(bugprone-macro-parentheses): `lhs` may be a declaration.
#define MILLRACE_ASSIGN_OR_RETURN(lhs, expr) \
  MILLRACE_ASSIGN_OR_RETURN_IMPL(MILLRACE_CONCAT(result_, __LINE__), lhs, expr)
#define MILLRACE_ASSIGN_OR_RETURN_IMPL(result, lhs, expr) \
  auto result = (expr);                                   \
  if (!result.ok()) return std::move(result).status();    \
  lhs = *std::move(result)
// NOLINTEND(bugprone-macro-parentheses)
#define MILLRACE_CONCAT(a, b) MILLRACE_CONCAT_IMPL(a, b)
#define MILLRACE_CONCAT_IMPL(a, b) a##b
