#!/bin/sh
# The figures of a running system, from outside: nothing of the project is used but its URLs. Needs curl, awk and wrk; ghz
# for gRPC where it is installed. CPU comes from /proc, so only where the system runs on this machine.
set -eu

usage() {
  cat <<'USAGE'
usage: sh bench/outside.sh URL [options]   rates, latencies and CPU of a running system, from outside

  URL              of the gateway, such as http://localhost:8080
  --key KEY        an API key, where keys are asked for
  --grpc HOST:PORT also gRPC, with ghz
  --seconds N      of each load (default 5)
  --connections N  of each load (default 100)
  --nats-port N    the broker is the process that listens there (default 4222)
  --pid NAME=PID   reads the CPU of a process more, any number of times
  --mails N        mails that are sent and waited for (default 500)
  --picture FILE   a picture that is converted again and again
  --pictures N     how often (default 20)
  --help           this

Prints a line for each figure: name, value, unit. Exit code 1 when an answer was not the one that is meant.
USAGE
}

die() { echo "outside.sh: $1; see sh bench/outside.sh --help" >&2; exit 2; }
say() { printf '%-34s %12s  %s\n' "$1" "$2" "$3"; }

url='' key='' grpc='' seconds=5 connections=100 nats_port=4222 pids='' mails=500 picture='' pictures=20
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage; exit 0 ;;
    --key|--grpc|--seconds|--connections|--nats-port|--pid|--mails|--picture|--pictures)
      [ $# -ge 2 ] || die "$1 takes a value"
      case $1 in
        --key) key=$2 ;; --grpc) grpc=$2 ;; --seconds) seconds=$2 ;; --connections) connections=$2 ;;
        --nats-port) nats_port=$2 ;; --pid) pids="$pids $2" ;; --mails) mails=$2 ;;
        --picture) picture=$2 ;; --pictures) pictures=$2 ;;
      esac
      shift 2 ;;
    -*) die "unknown option $1" ;;
    *) [ -z "$url" ] || die "\"$1\" is one word too many"; url=${1%/}; shift ;;
  esac
done
[ -n "$url" ] || die 'a URL is needed'
for program in curl awk wrk; do command -v "$program" >/dev/null || die "$program is not installed"; done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
failed=0
run="$(date +%s)-$$"
ticks=$(getconf CLK_TCK)

# --- CPU of processes -------------------------------------------------------------------------------------------------

# The process that listens on a TCP port of this machine: by the inode of its socket.
pid_of_port() {
  hex=$(printf '%04X' "$1")
  inode=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port=":$hex" '$4 == "0A" && $2 ~ port "$" { print $10; exit }')
  [ -n "$inode" ] || return 0
  for fd in /proc/[0-9]*/fd/*; do
    [ "$(readlink "$fd" 2>/dev/null)" = "socket:[$inode]" ] || continue
    fd=${fd#/proc/}; echo "${fd%%/*}"; return 0
  done
}

# User and system time of a process in ticks; 0 when it has ended. The name may hold spaces: fields count after the bracket.
ticks_of() { awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat" 2>/dev/null || echo 0; }

port_of() { echo "$1" | awk '{ sub(/^[a-z]+:\/\//, ""); sub(/\/.*/, ""); if (!match($0, /:[0-9]+$/)) exit; print substr($0, RSTART + 1) }'; }
is_local() { case $1 in *localhost*|*127.0.0.1*|*'[::1]'*) return 0 ;; *) return 1 ;; esac; }

watched=''
if is_local "$url" && [ -r /proc/net/tcp ]; then
  port=$(port_of "$url"); found=$(pid_of_port "${port:-80}"); [ -z "$found" ] || watched="gateway=$found"
  found=$(pid_of_port "$nats_port"); [ -z "$found" ] || watched="$watched broker=$found"
fi
watched="$watched$pids"

cpu_begin() { for each in $watched; do ticks_of "${each#*=}"; done >"$work/before"; }
# cpu_end NAME UNITS UNIT
cpu_end() {
  for each in $watched; do ticks_of "${each#*=}"; done >"$work/after"
  at=0
  for each in $watched; do
    at=$((at + 1))
    us=$(awk -v at="$at" -v units="$2" -v ticks="$ticks" 'FNR == at { v[++n] = $1 } END { printf "%.1f", units ? (v[2] - v[1]) * 1e6 / ticks / units : 0 }' "$work/before" "$work/after")
    say "$1.cpu_${each%%=*}" "$us" "µs of CPU of ${each%%=*} a $3"
  done
}

# --- HTTP, with wrk ---------------------------------------------------------------------------------------------------

# load NAME UNIT PATH [JSON]: %d in the body is a number that no other request has.
load() {
  {
    echo 'local thread = 0'
    echo 'function setup(t) t:set("number", thread * 1e9) thread = thread + 1 end'
    [ -z "$key" ] || printf 'wrk.headers["authorization"] = "Bearer %s"\n' "$key"
    if [ $# -ge 4 ]; then
      echo 'wrk.method = "POST"'
      echo 'wrk.headers["content-type"] = "application/json"'
      printf 'local body = [==[%s]==]\n' "$4"
      printf 'function request() number = number + 1 return wrk.format(nil, nil, nil, (body:gsub("%%%%d", "%s-" .. string.format("%%d", number)))) end\n' "$run"
    fi
    cat <<'LUA'
function done(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %d %.6f %.3f %.3f %d %.0f", summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout, os.clock() * 1e6))
end
LUA
  } >"$work/load.lua"
  cpu_begin
  wrk -t2 -c"$connections" -d"${seconds}s" --timeout 10s -s "$work/load.lua" "$url$3" >"$work/wrk" || die "wrk failed on $url$3"
  set -- "$1" "$2" $(awk '/^RESULT/ { print $2, $3, $4, $5, $6, $7 }' "$work/wrk")
  [ $# -eq 8 ] || die "wrk printed no result for $1"
  say "$1.rate" "$(awk "BEGIN { printf \"%.0f\", $3 / $4 }")" "$2s/s"
  say "$1.p50" "$5" ms
  say "$1.p99" "$6" ms
  cpu_end "$1" "$3" "$2"
  say "$1.cpu_load" "$(awk "BEGIN { printf \"%.1f\", $3 ? $8 / $3 : 0 }")" "µs of CPU of wrk a $2"
  say "$1.failed" "$7" 'answers other than 2xx'
  [ "$7" -eq 0 ] && [ "$3" -gt 0 ] || failed=1
}

# --- jobs, with curl --------------------------------------------------------------------------------------------------

ask() {
  if [ -n "$key" ]; then curl -sS -H "authorization: Bearer $key" "$@"; else curl -sS "$@"; fi
}
# The first string of that name in JSON on standard input.
field() { tr -d '\n' | awk -v name="\"$1\" *: *\"" '{ if (match($0, name)) { rest = substr($0, RSTART + RLENGTH); print substr(rest, 1, index(rest, "\"") - 1) } }'; }
now_ms() { date +%s%3N; }

# How many jobs of a state there are now, in all: GET /v1/jobs:counts.
ended() {
  ask "$url/v1/jobs:counts" | tr -d ' \n' | awk '{ n = 0; for (s = 1; s <= 3; s++) { name = "\"" (s == 1 ? "succeeded" : s == 2 ? "failed" : "cancelled") "\":"; at = index($0, name); if (at) n += substr($0, at + length(name)) + 0 } print n }'
}

echo "# $url, $(date -u +%Y-%m-%dT%H:%MZ), $(getconf _NPROCESSORS_ONLN) processors, $seconds s of each load, $connections connections"
[ -n "$watched" ] && echo "# CPU of: $watched" || echo '# no CPU: the system does not run on this machine, or its processes are hidden'

body='{"to":"outside@example.com","template":"welcome","variables":{"name":"Ada"}}'
began=$(now_ms)
job=$(ask -X POST -H 'content-type: application/json' -H 'prefer: wait=20' -d "$body" "$url/v1/emails")
id=$(echo "$job" | field id)
[ -n "$id" ] || die "no job was accepted: $job"
say mail.first "$(($(now_ms) - began))" 'ms from the request to its end, one mail alone'
[ "$(echo "$job" | field state)" = succeeded ] || { echo "# the mail did not succeed: $job" >&2; failed=1; }

load get_job request "/v1/jobs/$id"
load event event /v1/events '{"app_id":"outside","message_id":"m%d","event":"published"}'

# --- mails and pictures, until they have ended ------------------------------------------------------------------------

# jobs NAME COUNT UNIT CURL-OPTIONS...: so many requests, eight at once, then waits until all of them have ended.
jobs_of() {
  name=$1 count=$2 unit=$3
  shift 3
  before=$(ended)
  cpu_begin
  began=$(now_ms)
  : >"$work/config"
  n=0
  while [ "$n" -lt "$count" ]; do
    n=$((n + 1))
    [ "$n" -eq 1 ] || echo next >>"$work/config"
    {
      echo "output = \"/dev/null\""; echo 'silent'; echo 'write-out = "%{http_code}\n"'
      [ -z "$key" ] || echo "header = \"authorization: Bearer $key\""
      for option in "$@"; do echo "$option"; done | sed "s/%d/$run-$n/g"
    } >>"$work/config"
  done
  curl -s --parallel --parallel-max 8 -K "$work/config" >"$work/statuses" || true
  accepted=$(grep -c '^202$' "$work/statuses" || true)
  say "$name.accepted" "$accepted" "of $count"
  [ "$accepted" -eq "$count" ] || failed=1
  tries=0
  while [ $(($(ended) - before)) -lt "$accepted" ] && [ "$tries" -lt 1200 ]; do tries=$((tries + 1)); sleep 0.1; done
  took=$(($(now_ms) - began))
  done_=$(($(ended) - before))
  say "$name.ended" "$done_" "of $accepted"
  [ "$done_" -ge "$accepted" ] || failed=1
  say "$name.rate" "$(awk "BEGIN { printf \"%.1f\", $took ? $done_ * 1000 / $took : 0 }")" "$unit""s/s from the first request to the last end"
  cpu_end "$name" "$accepted" "$unit"
}

[ "$mails" -eq 0 ] || jobs_of mail "$mails" mail "url = \"$url/v1/emails\"" 'header = "content-type: application/json"' \
  'data = "{\"to\":\"outside-%d@example.com\",\"template\":\"welcome\",\"variables\":{\"name\":\"Ada\"}}"'
if [ -n "$picture" ] && [ "$pictures" -gt 0 ]; then
  case $picture in *.png) type=image/png ;; *.jpg|*.jpeg) type=image/jpeg ;; *.webp) type=image/webp ;; *) type=application/octet-stream ;; esac
  jobs_of picture "$pictures" picture "url = \"$url/v1/images\"" "header = \"content-type: $type\"" "data-binary = \"@$picture\""
fi

# --- gRPC, with ghz ---------------------------------------------------------------------------------------------------

if [ -n "$grpc" ]; then
  ghz=$(command -v ghz || echo "$HOME/go/bin/ghz")
  [ -x "$ghz" ] || die 'ghz is not installed: go install github.com/bojand/ghz/cmd/ghz@latest'
  # As the API publishes it, as far as it is used here: ghz asks for version v1alpha of reflection, which few servers have.
  cat >"$work/events.proto" <<'PROTO'
syntax = "proto3";
package sluice.v1;
message LifecycleEvent { string app_id = 1; string message_id = 2; string event = 3; }
message RecordEventsRequest { repeated LifecycleEvent events = 1; }
message RecordEventsResponse { uint32 accepted = 1; }
service EventService { rpc RecordEvents(RecordEventsRequest) returns (RecordEventsResponse); }
PROTO
  set -- --insecure --proto "$work/events.proto" --call sluice.v1.EventService/RecordEvents -n 10000 -c 50 \
    --data "{\"events\":[{\"app_id\":\"outside\",\"message_id\":\"g$run-{{.RequestNumber}}\",\"event\":\"published\"}]}"
  [ -z "$key" ] || set -- "$@" --metadata "{\"authorization\":\"Bearer $key\"}"
  cpu_begin
  ( "$ghz" "$@" "$grpc"; times ) >"$work/ghz" || die "ghz failed: $(tail -n 3 "$work/ghz")"
  say grpc.rate "$(awk '/Requests\/sec:/ { printf "%.0f", $2 }' "$work/ghz")" calls/s
  say grpc.p50 "$(awk '/50 % in/ { print $4 }' "$work/ghz")" "$(awk '/50 % in/ { print $5 }' "$work/ghz")"
  say grpc.p99 "$(awk '/99 % in/ { print $4 }' "$work/ghz")" "$(awk '/99 % in/ { print $5 }' "$work/ghz")"
  ok=$(awk '/\[OK\]/ { print $2 }' "$work/ghz")
  cpu_end grpc 10000 call
  say grpc.cpu_load "$(tail -n 1 "$work/ghz" | awk '{ for (i = 1; i <= 2; i++) { split($i, part, "m"); s += part[1] * 60 + part[2] } printf "%.1f", s * 100 }')" 'µs of CPU of ghz a call'
  say grpc.ok "${ok:-0}" 'of 10000'
  [ "${ok:-0}" -eq 10000 ] || failed=1
fi
exit "$failed"
