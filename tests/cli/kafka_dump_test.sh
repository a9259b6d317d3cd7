#!/usr/bin/env bash
# Kafka's own dump tool over segments, indexes and snapshots that the command wrote: no error, and the
# output is that of `millrace log dump`.   kafka_dump_test.sh MILLRACE
# The jars of kafka-tools 4.3.1 are looked for in $MILLRACE_KAFKA_LIBS (a folder of jars); where it is not
# set they are fetched once by Maven into $MILLRACE_KAFKA_CACHE, if that is set. Otherwise: skipped.
set -uo pipefail
millrace=$1
skip() {
  echo "skipped: $1"
  exit 77
}
command -v java >/dev/null || skip "there is no Java here"

libs=${MILLRACE_KAFKA_LIBS:-}
if [ -z "$libs" ] && [ -n "${MILLRACE_KAFKA_CACHE:-}" ]; then
  libs=$MILLRACE_KAFKA_CACHE/kafka-tools-4.3.1
  if [ ! -f "$libs/.complete" ]; then
    command -v mvn >/dev/null || skip "there is no Maven to fetch Kafka's jars with"
    mkdir -p "$libs"
    cat >"$libs/pom.xml" <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace.test</groupId><artifactId>kafka-tools</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version></dependency>
  </dependencies>
</project>
POM
    mvn -q -B -f "$libs/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$libs" || skip "Maven cannot fetch Kafka's jars"
    touch "$libs/.complete"
  fi
fi
ls "${libs:-/nonexistent}"/kafka-tools-*.jar >/dev/null 2>&1 ||
  skip "Kafka's jars are not here: set MILLRACE_KAFKA_LIBS, or MILLRACE_KAFKA_CACHE to fetch them"

work=$(mktemp -d "${TMPDIR:-/tmp}/millrace-dump.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
m() { "$millrace" --dir data "$@"; }

set -e
# Small segments and index intervals, so that there are closed segments and indexes with many entries.
for codec in none gzip snappy lz4 zstd; do
  m topic create "t-$codec" --partitions 2 --config segment.bytes=20000 --config index.interval.bytes=500
  for round in 1 2 3 4 5 6 7 8; do
    seq -f "key-%g:value-$round-ä-$codec" 150 |
      m produce "t-$codec" -K : -z "$codec" -H "round=$round" -H empty= --timestamp "@$((1760000000000 + round * 60000))"
    printf 'tombstone:NULL\nNULL:no key\n:\n' | m produce "t-$codec" -K : -Z NULL -z "$codec"
  done
done
m topic create appended --config message.timestamp.type=LogAppendTime
seq 100 | m produce appended
m topic create unordered --config index.interval.bytes=100
for ms in 5000 9000 1000 9000 12000 11000; do
  seq 20 | m produce unordered --timestamp "@$((1760000000000 + ms))"
done
# Many batches of one process.
m topic create large --config segment.bytes=1000000 --config index.interval.bytes=4096
seq -f "key-%g:some value that takes a little room" 50000 | m produce large -K : --timestamp @1760000000000
m consume t-none --group readers -e >/dev/null
m topic create deleted && m topic delete deleted
set +e

# One run of the tool for all files: Java is slow to start.
mapfile -t files < <(find data -name '*.log' -o -name '*.index' -o -name '*.timeindex' -o -name '*.snapshot' \
  -o -name '*.txnindex' -o -name '*.checkpoint' | sort)
list=$(IFS=,; echo "${files[*]}")
LC_ALL=C.UTF-8 java -Dfile.encoding=UTF-8 -cp "$libs/*" org.apache.kafka.tools.DumpLogSegments \
  --print-data-log --files "$list" >kafka.txt 2>kafka-errors.txt || {
  echo "FAILED: Kafka's tool"
  cat kafka-errors.txt
  exit 1
}
# It counts offsets from -1, and so remarks on every segment that does not begin at 0.
sed -i -e '/^SLF4J/d' -e '/^WARNING/d' -e '/^Non-consecutive offsets in /d' -e '/^  -1 is followed by /d' \
  kafka-errors.txt
if [ -s kafka-errors.txt ]; then
  echo "FAILED: Kafka's tool complains"
  cat kafka-errors.txt
  exit 1
fi
"$millrace" log dump --print-data-log "${files[@]}" >millrace.txt || {
  echo "FAILED: millrace log dump"
  exit 1
}
if ! diff kafka.txt millrace.txt >difference.txt; then
  echo "FAILED: Kafka's output (<) and ours (>) differ"
  head -40 difference.txt
  exit 1
fi
for kind in log index timeindex snapshot; do
  find data -name "*.$kind" -size +0 | grep -q . || {
    echo "FAILED: there was no .$kind file to look at"
    exit 1
  }
done
echo "${#files[@]} files, $(wc -l <millrace.txt) lines, no difference"
