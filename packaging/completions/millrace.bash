# Completion of millrace for bash: made by 'millrace completion bash'.
_millrace() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local command="" words="" word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "${command:+$command }$word" in
      "topic" | "topic create" | "topic list" | "topic describe" | "topic alter" | "topic delete" | "produce" | "consume" | "group" | "group list" | "group describe" | "group delete" | "group reset" | "log" | "log dump" | "log verify" | "bench" | "completion") command="${command:+$command }$word" ;;
    esac
  done
  case "$previous" in
    --dir|-d) COMPREPLY=($(compgen -d -- "$current")); return ;;
    --compression|-z) COMPREPLY=($(compgen -W "none gzip snappy lz4 zstd" -- "$current")); return ;;
    --acks) COMPREPLY=($(compgen -W "all 1 0" -- "$current")); return ;;
    --flush) COMPREPLY=($(compgen -W "each-batch interval os" -- "$current")); return ;;
    --from|-o) COMPREPLY=($(compgen -W "beginning end" -- "$current")); return ;;
  esac
  case "$command" in
    "") words="topic produce consume group log bench completion --help --version --dir --json" ;;
    "topic") words="create list describe alter delete --help --dir --json" ;;
    "topic create") words="--help --partitions --config --retention --retention-bytes --if-not-exists --dir --json" ;;
    "topic list") words="--help --internal --dir --json" ;;
    "topic describe") words="--help --internal --all-config --dir --json" ;;
    "topic alter") words="--help --partitions --config --retention --retention-bytes --unset --dir --json" ;;
    "topic delete") words="--help --if-exists --dir --json" ;;
    "produce") words="--help --file --key-separator --null-marker --header --partition --compression --acks --timestamp --create --dir --json" ;;
    "consume") words="--help --from --partition --group --exit --count --format --key-separator --null-marker --dir --json" ;;
    "group") words="list describe delete reset --help --dir --json" ;;
    "group list") words="--help --dir --json" ;;
    "group describe") words="--help --dir --json" ;;
    "group delete") words="--help --topic --dir --json" ;;
    "group reset") words="--help --topic --to-earliest --to-latest --to-offset --to-time --shift-by --execute --dir --json" ;;
    "log") words="dump verify --help --dir --json" ;;
    "log dump") words="--help --deep-iteration --print-data-log --dir --json" ;;
    "log verify") words="--help --dir --json" ;;
    "bench") words="--help --records --record-size --partitions --compression --flush --one-by-one --dir --json" ;;
    "completion") words="bash zsh --help --dir --json" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _millrace millrace
