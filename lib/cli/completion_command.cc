#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/context.h"

// Completion scripts, made from the tree of commands itself, so that they cannot fall behind.
namespace millrace::cli {
namespace {

// Options whose values are a closed list.
constexpr std::pair<std::string_view, std::string_view> kValues[] = {
    {"--compression|-z", "none gzip snappy lz4 zstd"},
    {"--acks", "all 1 0"},
    {"--flush", "each-batch interval os"},
    {"--from|-o", "beginning end"},
};

struct Word {
  std::string text, help;
};

std::vector<Word> CommandsOf(const CLI::App& app) {
  std::vector<Word> words;
  for (const CLI::App* sub : app.get_subcommands(nullptr))
    words.push_back({sub->get_name(), sub->get_description()});
  if (app.get_name() == "completion") words = {{"bash", "For bash"}, {"zsh", "For zsh"}};
  return words;
}

std::vector<Word> OptionsOf(const CLI::App& app) {
  std::vector<Word> words;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames())
      words.push_back({"--" + name, option->get_description()});
  if (app.get_parent() != nullptr) {  // options of the root may stand anywhere
    words.push_back({"--dir", "The directory that holds the logs"});
    words.push_back({"--json", "Print JSON"});
  }
  return words;
}

// Calls `visit` with every command and its path: "", "topic", "topic create"...
void Walk(const CLI::App& app, const std::string& path,
          const std::function<void(const CLI::App&, const std::string&)>& visit) {
  visit(app, path);
  for (const CLI::App* sub : app.get_subcommands(nullptr))
    Walk(*sub, path.empty() ? sub->get_name() : fmt::format("{} {}", path, sub->get_name()), visit);
}

std::string BashScript(const CLI::App& root) {
  std::string paths, words;
  Walk(root, "", [&](const CLI::App& app, const std::string& path) {
    if (!path.empty()) paths += fmt::format("{}\"{}\"", paths.empty() ? "" : " | ", path);
    std::string list;
    for (const auto& all : {CommandsOf(app), OptionsOf(app)})
      for (const Word& word : all) list += (list.empty() ? "" : " ") + word.text;
    words += fmt::format("    \"{}\") words=\"{}\" ;;\n", path, list);
  });
  std::string values;
  for (const auto& [names, list] : kValues) {
    values += fmt::format("    {}) COMPREPLY=($(compgen -W \"{}\" -- \"$current\")); return ;;\n",
                          names, list);
  }
  return fmt::format(R"(# Completion of millrace for bash: made by 'millrace completion bash'.
_millrace() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  local command="" words="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "${{command:+$command }}$word" in
      {}) command="${{command:+$command }}$word" ;;
    esac
  done
  case "$previous" in
    --dir|-d) COMPREPLY=($(compgen -d -- "$current")); return ;;
{}  esac
  case "$command" in
{}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _millrace millrace
)",
                     paths, values, words);
}

// For _describe: 'word:help' in single quotes.
std::string ZshWord(const Word& word) {
  std::string text;
  for (const char c : fmt::format("{}:{}", word.text, word.help)) {
    if (c == '\'') text += "'\\'";
    text += c;
  }
  return fmt::format("'{}'", text);
}

std::string ZshScript(const CLI::App& root) {
  std::string paths, lists;
  Walk(root, "", [&](const CLI::App& app, const std::string& path) {
    if (!path.empty()) paths += fmt::format("{}'{}'", paths.empty() ? "" : "|", path);
    lists += fmt::format("    '{}')\n      commands=(", path);
    for (const Word& word : CommandsOf(app)) lists += "\n        " + ZshWord(word);
    lists += ")\n      options=(";
    for (const Word& word : OptionsOf(app)) lists += "\n        " + ZshWord(word);
    lists += ") ;;\n";
  });
  std::string values;
  for (const auto& [names, list] : kValues)
    values += fmt::format("    {}) compadd -- {}; return ;;\n", names, list);
  return fmt::format(R"(#compdef millrace
# Completion of millrace for zsh: made by 'millrace completion zsh'.
_millrace() {{
  local command='' word
  local -a commands options
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case "${{command:+$command }}$word" in
      {}) command="${{command:+$command }}$word" ;;
    esac
  done
  case "${{words[CURRENT-1]}}" in
    --dir|-d) _directories; return ;;
{}  esac
  case "$command" in
{}  esac
  (( $#commands )) && _describe 'command' commands
  [[ "${{words[CURRENT]}}" == -* || $#commands -eq 0 ]] && _describe -o 'option' options
  (( $#commands )) || _files
}}
_millrace "$@"
)",
                     paths, values, lists);
}

}  // namespace

void AddCompletionCommand(CLI::App& app, Context& context) {
  auto shell = std::make_shared<std::string>();
  CLI::App* completion = app.add_subcommand("completion", "Print a completion script for a shell");
  completion->add_option("shell", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}))
      ->type_name("SHELL");
  completion->footer(R"(Examples:
  source <(millrace completion bash)
  millrace completion zsh > ~/.zfunc/_millrace)");
  completion->callback([&app, &context, shell] {
    context.run = [&app, &context, shell] {
      context.out.Write(*shell == "bash" ? BashScript(app) : ZshScript(app));
      return absl::OkStatus();
    };
  });
}

}  // namespace millrace::cli
