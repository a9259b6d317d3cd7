#!/usr/bin/env bash
# The command as a user runs it: command_test.sh MILLRACE SOURCE_DIR
set -uo pipefail
millrace=$1
source_dir=$2
work=$(mktemp -d "${TMPDIR:-/tmp}/millrace-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0
checks=0

# is NAME WANTED FOUND
is() {
  checks=$((checks + 1))
  [ "$2" == "$3" ] && return
  failed=$((failed + 1))
  printf 'FAILED %s\n  wanted: %q\n  found:  %q\n' "$1" "$2" "$3"
}
# has NAME PART TEXT
has() {
  checks=$((checks + 1))
  case "$3" in *"$2"*) return ;; esac
  failed=$((failed + 1))
  printf 'FAILED %s\n  wanted part: %s\n  found:       %s\n' "$1" "$2" "$3"
}
# run ARGUMENTS...: leaves $out, $err and $code
run() {
  out=$("$millrace" "$@" 2>err.txt)
  code=$?
  err=$(cat err.txt)
}
m() { run --dir data "$@"; }
# ends NAME CODE: how the last run ended
ends() { is "$1: exit code ($err)" "$2" "$code"; }
valid_json() { python3 -c 'import json,sys; [json.loads(l) for l in sys.stdin]' <<<"$1" && echo yes; }
have_python=$(command -v python3 || true)

# ---- the sequence of the README
m topic create orders --partitions 4
ends "topic create" 0
is "topic create is silent" "" "$out$err"
out=$(seq 10 | "$millrace" --dir data produce orders 2>&1)
is "produce is silent where there is no terminal" "" "$out"
m consume orders --from beginning -e
ends "consume" 0
is "consume gives what was produced" "$(seq 10)" "$(sort -n <<<"$out")"

# ---- topics
m topic create orders
ends "creating a topic again" 1
has "creating a topic again" "orders" "$err"
m topic create orders --if-not-exists
ends "creating a topic again, if it is not there" 0
m topic create 'no/slash'
ends "a bad topic name" 1
m topic create zero --partitions 0
ends "no partitions" 1
m topic create wrong --config retention.mss=1
ends "an unknown config" 1
has "an unknown config names the nearest" "retention.ms" "$err"
m topic create wrong --config retention.ms=1 --retention 1d
ends "a config given twice" 2
m topic create events --retention 1d --config segment.bytes=1048576
ends "topic create with configs" 0
m topic list
is "topic list has a heading" "TOPIC PARTITIONS RECORDS BYTES" "$(head -1 <<<"$out" | tr -s ' ')"
has "topic list has the topics" "events" "$out"
m topic describe orders
has "topic describe" "orders: 4 partitions, 10 records" "$out"
m topic describe events
has "topic describe shows what was set" "retention.ms" "$out"
has "topic describe shows where from" "topic" "$out"
m topic describe events --all-config
has "every config on request" "max.message.bytes" "$out"
m topic alter events --unset retention.ms --partitions 3
ends "topic alter" 0
m topic describe events
has "partitions were added" "events: 3 partitions" "$out"
m topic alter events --partitions 2
ends "fewer partitions" 1
m topic alter events
ends "altering nothing" 2
m topic alter missing --config retention.ms=1
ends "altering a missing topic" 1
m topic delete events
ends "topic delete" 0
m topic delete events
ends "deleting a missing topic" 1
m topic delete events --if-exists
ends "deleting a missing topic, if it exists" 0
m topic describe events
ends "describing a missing topic" 1

# ---- produce: keys, nulls, headers, partitions
m topic create keyed --partitions 2
printf 'alice\t2 x tea\nbob\t-\n-\tno key\nwhole line\n\t\n' |
  "$millrace" --dir data produce keyed -K '\t' -Z - -p 1 -H source=test -H empty= \
    --timestamp 2026-01-31T12:00:00Z
m consume keyed -e -f '%p %o %T %k=%s (%K,%S) [%h]\n' -Z NULL
is "keys, nulls, headers and every token" "1 0 1769860800000 alice=2 x tea (5,7) [source=test,empty=]
1 1 1769860800000 bob=NULL (3,-1) [source=test,empty=]
1 2 1769860800000 NULL=no key (-1,6) [source=test,empty=]
1 3 1769860800000 NULL=whole line (-1,10) [source=test,empty=]
1 4 1769860800000 = (0,0) [source=test,empty=]" "$out"
m consume keyed -e -p 0
is "an empty partition" "" "$out"
ends "an empty partition" 0
is "topic, percent, escapes and the binary length" "6b6579656420254109000000077c" \
  "$(printf '%s' "$("$millrace" --dir data consume keyed -e -c 1 -f '%t %%\x41\t%R|' | od -An -tx1 | tr -d ' \n')")"
m consume keyed -e -c 2 -K ': '
is "key and value" $'alice: 2 x tea\nbob: ' "$out"
m consume keyed -e -f '%x'
ends "an unknown token" 2
has "an unknown token" "%" "$err"
printf 'from a file\n' >lines.txt
m produce keyed --file lines.txt -p 0
ends "produce from a file" 0
m consume keyed -e -p 0
is "produce from a file" "from a file" "$out"
m produce keyed --file missing.txt
ends "a missing file" 1
has "a missing file" "missing.txt" "$err"
m produce missing --file lines.txt
ends "a missing topic" 1
has "a missing topic" "missing" "$err"
m produce created --create --file lines.txt
ends "produce that creates its topic" 0
m produce keyed --file lines.txt -p 7
ends "a partition that is not there" 1
has "a partition that is not there" "line 1" "$err"
m produce keyed --file lines.txt --compression brotli
ends "an unknown compression" 2
for codec in none gzip snappy lz4 zstd; do
  m topic create "codec-$codec"
  seq 2000 | "$millrace" --dir data produce "codec-$codec" -z "$codec"
  m consume "codec-$codec" -e
  is "$codec comes back" "$(seq 2000 | cksum)" "$(cksum <<<"$out")"
done
for acks in all 1 0; do
  m topic create "acks-$acks"
  seq 5 | "$millrace" --dir data produce "acks-$acks" --acks "$acks"
  m consume "acks-$acks" -e
  is "acks=$acks" "$(seq 5)" "$out"
done
printf 'no line end' | "$millrace" --dir data produce created
m consume created --from -1 -e
is "a last line without its end" "no line end" "$out"

# ---- consume: where from, how much
m topic create numbers
seq 100 | "$millrace" --dir data produce numbers --timestamp 2026-01-01T00:00:00Z --file -
seq 101 110 | "$millrace" --dir data produce numbers --timestamp 2026-01-02T00:00:00Z
m consume numbers --from 107 -e
is "from an offset" "$(seq 108 110)" "$out"
m consume numbers --from -2 -e
is "the last two" "$(seq 109 110)" "$out"
m consume numbers --from end -e
is "from the end" "" "$out"
m consume numbers --from 2026-01-01T12:00:00Z -e
is "from a time" "$(seq 101 110)" "$out"
m consume numbers --from 2026-01-03 -e
is "from a time behind the end" "" "$out"
m consume numbers --from 500 -e
ends "from behind the end" 0
has "from behind the end is said" "[0, 110)" "$err"
m consume numbers -c 3
is "a count" "$(seq 3)" "$out"
m consume numbers -c 0
is "a count of none" "" "$out"
m consume numbers --from nowhere
ends "from nowhere" 2
m consume numbers -p 5 -e
ends "a partition that is not there" 2
m consume missing -e
ends "consume of a missing topic" 1
out=$("$millrace" --dir data consume numbers -e | head -1)
is "a reader that goes away" "1" "$out"
"$millrace" --dir data consume numbers -e 2>err.txt | true
is "a broken pipe is no error" "0 " "${PIPESTATUS[0]} $(cat err.txt)"
out=$(timeout 60 "$millrace" --dir data consume numbers | head -1; echo "${PIPESTATUS[0]}")
is "a reader that goes away while nothing comes" $'1\n0' "$out"
"$millrace" --dir data consume missing 2>/dev/full
is "nowhere to print an error" 1 $?
"$millrace" --dir data consume missing 2>&-
is "no standard error" 1 $?
err=$("$millrace" --dir data produce numbers 2>&1 <&-)
is "no standard input: exit code" 1 $?
has "no standard input" "Bad file descriptor" "$err"
err=$("$millrace" --dir data --json produce numbers 2>&1 >&- </dev/null)
is "no standard output: exit code" 1 $?
has "no standard output" "Bad file descriptor" "$err"
m consume numbers -c -1
ends "a negative count" 2
is "a negative count" "millrace: --count -1: wants a number of records" "$(head -1 <<<"$err")"
"$millrace" --dir data consume numbers -e >/dev/full 2>err.txt
is "a full disk is an error" 1 $?
has "a full disk is an error" "No space left" "$(cat err.txt)"

# ---- groups
m consume numbers --group g -c 10
is "a group begins at the beginning" "$(seq 10)" "$out"
m consume numbers --group g -c 5
is "a group goes on where it was" "$(seq 11 15)" "$out"
m consume numbers --group g -e
is "a group reads to the end" "$(seq 16 110)" "$out"
m consume numbers --group g -e
is "a group at the end" "" "$out"
m consume numbers --group late --from end -e
is "a group that begins at the end" "" "$out"
m consume numbers --group g --from 5
ends "a group and an offset" 2
has "a group and an offset" "group reset g" "$err"
m consume numbers --group g -p 0
ends "a group and a partition" 2
m group list
has "group list" "g " "$out"
m group describe g
has "group describe" "110" "$out"
m group describe nobody
ends "describing a missing group" 1
m group reset g --to-offset 100
ends "a dry run" 0
has "a dry run" "add --execute" "$err"
m consume numbers --group g -e
is "a dry run changes nothing" "" "$out"
m group reset g --to-offset 100 --execute
ends "group reset" 0
m consume numbers --group g -c 1
is "group reset to an offset" "101" "$out"
m group reset g --to-earliest --execute
m consume numbers --group g -c 1
is "group reset to the earliest" "1" "$out"
m group reset g --to-time 2026-01-02 --execute
m consume numbers --group g -c 1
is "group reset to a time" "101" "$out"
m group reset g --shift-by -2 --execute
m consume numbers --group g -c 1
is "group reset by a shift" "100" "$out"
m group reset g --to-latest --execute
m consume numbers --group g -e
is "group reset to the latest" "" "$out"
m group reset g --to-offset 99999 --execute
ends "group reset behind the end" 0
m group reset g --to-earliest --to-latest
ends "two targets" 2
m group reset fresh --to-latest --topic numbers:0 --execute
ends "positions for a group that is new" 0
m group reset fresh2 --to-latest
ends "a group that is new, and no topic" 1
m group reset g --to-latest --topic numbers:7
ends "a partition that is not there" 2
m group delete g
ends "group delete" 0
m group delete g
ends "deleting a missing group" 1

# ---- signals
m topic create follow
seq 3 | "$millrace" --dir data produce follow
: >followed.txt
"$millrace" --dir data consume follow --group f >followed.txt 2>err.txt &
pid=$!
for _ in $(seq 200); do [ "$(wc -l <followed.txt)" -eq 3 ] && break; sleep 0.05; done
kill -INT $pid
wait $pid
is "SIGINT ends consume" "0 " "$? $(cat err.txt)"
is "SIGINT: what was printed" "$(seq 3)" "$(cat followed.txt)"
m group describe f
has "SIGINT: what was printed is committed" "follow" "$out"
m consume follow --group f -e
is "SIGINT: nothing comes twice" "" "$out"
mkfifo slow
"$millrace" --dir data produce follow <slow 2>err.txt &
pid=$!
exec 9>slow
"$millrace" --dir data consume follow --from 3 -c 2 >beside.txt 2>beside-err.txt &
follower=$!
echo 4 >&9
for _ in $(seq 200); do
  [ "$("$millrace" --dir data consume follow -e 2>/dev/null | wc -l)" -eq 4 ] && break
  sleep 0.05
done
run --dir data topic create other
ends "a directory that is in use" 1
has "a directory that is in use" "data" "$err"
m consume follow -e
is "reading beside a writer" "$(seq 4)" "$out"
echo 5 >&9
wait $follower
is "following a writer" "4 5 0" "$(echo $(cat beside.txt) $?)"
is "following a writer quietly" "" "$(cat beside-err.txt)"
kill -INT $pid
wait $pid
is "SIGINT ends produce" "0 " "$? $(cat err.txt)"
exec 9>&-

# ---- JSON
if [ -n "$have_python" ]; then
  for what in "topic list" "topic describe orders" "topic describe" "group list" \
    "group describe f" "group reset f --to-earliest" "consume keyed -e" "log verify"; do
    # shellcheck disable=SC2086
    m --json $what
    ends "--json $what" 0
    is "--json $what is JSON" yes "$(valid_json "$out")"
  done
  printf '\377\0x' | "$millrace" --dir data produce created
  m --json consume created --from -1 -e
  has "bytes that are not UTF-8" '"value_base64":"/wB4"' "$out"
  m --json consume missing
  ends "an error as JSON" 1
  is "an error as JSON" yes "$(valid_json "$err")"
  has "an error as JSON" '"name":"unknown_topic"' "$err"
  out=$(seq 3 | "$millrace" --dir data --json produce created)
  is "produce reports in JSON" '{"topic":"created","records":3,"partitions":{"0":3}}' "$out"
fi

# ---- log dump and verify
segment=data/numbers-0/00000000000000000000.log
run log dump "$segment"
ends "log dump" 0
has "log dump" "baseOffset: 0 lastOffset:" "$out"
run log dump --print-data-log "$segment"
has "log dump of records" "| offset: 99 CreateTime: 1767225600000 keySize: -1 valueSize: 3" "$out"
run log dump missing.log
ends "log dump of a missing file" 1
for file in data/numbers-0/*; do
  case $file in *.log | *.index | *.timeindex | *.snapshot | *.txnindex)
    run log dump "$file"
    ends "log dump $file" 0
    ;;
  esac
done
run log verify data
ends "log verify" 0
has "log verify" "numbers-0" "$out"
has "log verify" "good" "$out"
m log verify
ends "log verify by --dir" 0
cp -r data lost && rm -r lost/numbers-0
run log verify lost
ends "log verify of a lost partition" 3
has "log verify of a lost partition" "numbers-0: the folder is missing" "$out"
run --dir lost topic describe numbers
ends "describe of a lost partition" 3
has "describe of a lost partition" " 0      -    -        -      -" "$out"
has "describe of a lost partition" "numbers-0: the folder is missing" "$err"
run --json --dir lost topic describe numbers
has "describe of a lost partition in JSON" '"end":null' "$out"
has "describe of a lost partition in JSON" '"bytes":null' "$out"
run --dir data --json consume numbers -e -K :
ends "consume --json with a separator" 2
run --dir lost topic list
ends "list with a lost partition" 3
cp -r data half && "$millrace" --dir half topic create pair --partitions 2 2>/dev/null
seq 3 | "$millrace" --dir half produce pair -p 0
seq 4 6 | "$millrace" --dir half produce pair -p 1
rm -r half/pair-0
for how in "" "--group g"; do
  run --dir half consume pair -e $how
  ends "consume beside a lost partition $how" 3
  is "consume beside a lost partition $how" "$(seq 4 6)" "$out"
  has "consume beside a lost partition $how" "pair-0: the folder is missing" "$err"
  has "consume beside a lost partition $how" "1 partition could not be read to the end" "$err"
done
cp -r data headless && rm -r headless/__cluster_metadata-0
run log verify headless
ends "log verify without metadata" 3
has "log verify without metadata" "__cluster_metadata-0: the folder is missing" "$err"
m produce missing </dev/null
ends "produce of nothing to a missing topic" 1
run topc list
ends "a command spelled wrong" 2
has "a command spelled wrong" "there is no command 'topc'" "$err"
run topic lisst
has "a command below spelled wrong" "there is no command 'lisst'" "$err"
m topic create sparse
m topic alter sparse --partitions 2
m topic describe sparse
is "a partition without files" "1 0 0 0 0 0" "$(tail -1 <<<"$out" | xargs)"
m log verify
ends "log verify with a partition without files" 0
seq 3 | "$millrace" --dir data produce sparse -p 1
m consume sparse -g late --from end -e
is "a group from the end: nothing yet" "" "$out"
seq 4 5 | "$millrace" --dir data produce sparse -p 1
m consume sparse -g late --from end -e
is "a group from the end has its place" $'4\n5' "$out"
m topic delete sparse
cp -r data damaged
printf 'X' | dd of=damaged/numbers-0/00000000000000000000.log bs=1 seek=70 conv=notrunc status=none
run log verify damaged
ends "log verify of damage" 3
has "log verify of damage" "DAMAGED" "$out"
has "log verify names the file" "00000000000000000000.log" "$out"
is "log verify writes nothing" "$(find damaged -type f -newer err.txt)" ""
run log dump damaged/numbers-0/00000000000000000000.log
ends "log dump of damage" 3
run --dir damaged consume numbers -e
ends "consume of damage" 3
run log verify nowhere
ends "log verify of nothing" 1

# ---- usage
run
ends "no command" 2
run --version
has "the version" "millrace 0" "$out"
run --help
ends "help" 0
has "help has examples" "Examples:" "$out"
for command in "topic create" "produce" "consume" "group reset" "log dump" "log verify" bench completion; do
  # shellcheck disable=SC2086
  run $command --help
  ends "$command --help" 0
  has "$command --help has examples" "Example" "$out"
done
run nonsense
ends "an unknown command" 2
run topic list
ends "no directory" 2
has "no directory" "--dir" "$err"
MILLRACE_DIR=data run topic list
ends "the directory from the environment" 0
run --dir nowhere topic list
ends "a directory that is not there" 1
has "a directory that is not there" "nowhere" "$err"
is "and that stays so" "" "$(ls -d nowhere 2>/dev/null)"
touch plain
run --dir plain topic create x
ends "a file for a directory" 1
has "a file for a directory" "plain" "$err"
run topic list --dir data
ends "options behind the command" 0

# ---- completion
for shell in bash zsh; do
  run completion $shell
  ends "completion $shell" 0
done
is "the packaged bash completion" "$("$millrace" completion bash)" \
  "$(cat "$source_dir/packaging/completions/millrace.bash")"
is "the packaged zsh completion" "$("$millrace" completion zsh)" \
  "$(cat "$source_dir/packaging/completions/_millrace")"
complete_words() {
  bash -c 'source <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _millrace
    echo "${COMPREPLY[@]}"' "$millrace" "$@"
}
is "completing a command" "topic" "$(complete_words millrace to)"
is "completing below a command" "create" "$(complete_words millrace --dir data topic cr)"
is "completing an option" "--partitions" "$(complete_words millrace topic create orders --part)"
is "completing a value" "zstd" "$(complete_words millrace produce orders --compression zs)"

head -c 34 /dev/zero | tr '\0' x >foreign.txnindex
run log dump foreign.txnindex
ends "log dump of a foreign .txnindex" 3
has "log dump of a foreign .txnindex" "version 30840" "$err"

# ---- bench
run --json bench --records 1000 --record-size 100 --one-by-one 10
ends "bench in memory" 0
has "bench in memory" '"produce_records_per_second":' "$out"
run --dir benched bench --records 1000 --compression lz4 --flush os
ends "bench on disk" 0
has "bench on disk" "consume" "$out"
run --dir benched topic list
is "bench leaves no topic" "" "$out"
run bench --record-size 2g
ends "records beyond the largest" 2
has "records beyond the largest" "at most 1000000" "$err"
run bench --flush never
ends "an unknown flush policy" 2

echo "$checks checks, $failed failed"
[ "$failed" -eq 0 ]
