#!/usr/bin/env bash
# Several hosts without docker: a learner and three actors, each in a network namespace of its own, joined by veth pairs to a
# bridge in a fourth kind, the switch. Then the network fails: a pulled cable, packets dropped without a word, the learner cut
# off from everyone, a lossy link, and the learner moving to another host. After each, training must go on by itself; at the
# end the trajectory account must close. Prints a table; exits 1 at the first thing that does not hold.
#
#   scripts/netns-test.sh      needs root, iproute2 and iptables; about 5 minutes
#   BIN_DIR=path ..            programs that were built elsewhere; default target/release, built if need be
#
# Touches no namespace but its own, whose names begin with `impala-`, and removes them at the end, whatever that is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh
# shellcheck source=scripts/faults-lib.sh
source scripts/faults-lib.sh

# Settings of the person or machine that runs this must not change what is tested.
unset_settings

# Hosts and the last part of their addresses; the learner begins on `learner` and later moves to `spare`.
readonly SWITCH=impala-switch NET=10.77.0
declare -rA HOSTS=([learner]=1 [spare]=2 [actor1]=11 [actor2]=12 [actor3]=13)
readonly ACTORS=3
# Longer than both sides' keepalive takes to notice, and the most that noticing may take.
readonly OUTAGE=45 NOTICE_MAX=30
# How long a link is lossy, and the per cent of packets that it loses, each way.
readonly LOSSY_TIME=30 LOSSES=(5 20)

work=$(mktemp -d)
# Process of each host.
declare -A pids=()
learner_host=learner

inside() {
    local host=$1
    shift
    ip netns exec "impala-$host" "$@"
}
scrape() { inside "$learner_host" curl -fsS --max-time 2 http://127.0.0.1:9090/metrics 2>/dev/null; }
actor_frames() { inside "$1" curl -fsS --max-time 2 http://127.0.0.1:9091/metrics | awk '$1 == "impala_actor_frames_total" { printf "%.0f\n", $2 }'; }
joins() { cat "$work"/learner*.log | grep -c 'an actor connected'; }
joins_above() { (($(joins) > $1)); }

# Ends one process and sets `status` and `stop_ms`.
stop() {
    local host=$1 signal=$2 since
    since=$(now_ms) status=0
    kill "-$signal" "${pids[$host]}"
    wait "${pids[$host]}" || status=$?
    stop_ms=$(($(now_ms) - since))
    unset "pids[$host]"
}

clean_up() {
    local result=$? host pid
    if ((result != 0)); then tail -n 15 "$work"/*.log >&2 || true; fi
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null
    remove_hosts
    rm -rf "$work"
}

remove_hosts() {
    local host
    for host in "${!HOSTS[@]}" switch; do
        ip netns delete "impala-$host" 2>/dev/null || true
        rm -rf "/etc/netns/impala-$host"
    done
}

# The veth pair goes with its namespace. One name has the addresses of both hosts that a learner may be on, as a DNS name has.
make_hosts() {
    local host
    remove_hosts
    ip netns add "$SWITCH"
    ip -n "$SWITCH" link add bridge type bridge
    ip -n "$SWITCH" link set bridge up
    for host in "${!HOSTS[@]}"; do
        ip netns add "impala-$host"
        ip -n "impala-$host" link set lo up
        ip -n "$SWITCH" link add "$host" type veth peer name eth0 netns "impala-$host"
        ip -n "$SWITCH" link set "$host" master bridge up
        ip -n "impala-$host" address add "$NET.${HOSTS[$host]}/24" dev eth0
        ip -n "impala-$host" link set eth0 up
        mkdir -p "/etc/netns/impala-$host"
        printf '127.0.0.1 localhost\n%s.%s learner\n%s.%s learner\n' \
            "$NET" "${HOSTS[spare]}" "$NET" "${HOSTS[learner]}" >"/etc/netns/impala-$host/hosts"
    done
}

start_learner() {
    learner_host=$1
    # A run that nothing but a signal ends.
    ip netns exec "impala-$learner_host" "$bin_dir/impala-learner" --listen 0.0.0.0:50051 --metrics-listen 127.0.0.1:9090 \
        --run-dir "$work/run" --keep-serving --frames-max 1000000000000 \
        --frames-after-solved 1000000000000 --time-max 2h >>"$work/$learner_host-result.log" 2>>"$work/learner-$learner_host.log" &
    pids[$learner_host]=$!
}

start_actor() {
    ip netns exec "impala-$1" "$bin_dir/impala-actor" --learner http://learner:50051 --name "$1" \
        --metrics-listen 127.0.0.1:9091 >"$work/$1.log" 2>&1 &
    pids[$1]=$!
}

# An outage of one actor: `cut HOST`, OUTAGE seconds later `heal HOST`.
actor_outage() {
    local name=$1 cut=$2 heal=$3 host=$4 before since noticed
    before=$(joins) since=$(now_ms)
    "$cut" "$host"
    training_goes_on 10 "$name"
    wait_until "$NOTICE_MAX" "the learner notices: $name" is_connected $((ACTORS - 1))
    noticed=$(($(now_ms) - since))
    while (($(now_ms) < since + OUTAGE * 1000)); do sleep 1; done
    training_goes_on 10 "$name, at the end"
    "$heal" "$host"
    since=$(now_ms)
    wait_until 30 "back: $name" joins_above "$before"
    wait_until 10 'all actors are connected' is_connected "$ACTORS"
    local back=$(($(now_ms) - since))
    training_goes_on 10 "after: $name"
    row "$name for $OUTAGE s" "the others went on; noticed after $(seconds "$noticed") s; it registered anew" "$(seconds "$back") s"
}
pull_cable() { ip -n "$SWITCH" link set "$1" down; }
plug_cable() { ip -n "$SWITCH" link set "$1" up; }
drop_all() {
    inside "$1" iptables -A INPUT ! -i lo -j DROP
    inside "$1" iptables -A OUTPUT ! -o lo -j DROP
}
drop_none() { inside "$1" iptables -F; }

# The learner out of reach of everyone: nothing trains, then everything does again.
learner_outage() {
    local since noticed before
    since=$(now_ms)
    pull_cable learner
    wait_until "$NOTICE_MAX" 'the learner notices that it is alone' is_connected 0
    noticed=$(($(now_ms) - since))
    while (($(now_ms) < since + OUTAGE * 1000)); do sleep 1; done
    before=$(frames)
    plug_cable learner
    since=$(now_ms)
    wait_until 30 'frames grow again' frames_above "$before"
    local trains=$(($(now_ms) - since))
    wait_until 30 'all actors are back' is_connected "$ACTORS"
    local back=$(($(now_ms) - since))
    training_goes_on 10 'after the learner was cut off'
    row "the learner's cable pulled for $OUTAGE s" "training stood still; noticed after $(seconds "$noticed") s; all registered anew" \
        "trains after $(seconds "$trains") s, all actors after $(seconds "$back") s"
}

# Packets of one actor lost at random, each way: it goes on, slower.
lossy_link() {
    local loss=$1 host=$2 before after probability since sound lossy
    before=$(actor_frames "$host") since=$(now_ms)
    sleep 5
    sound=$((($(actor_frames "$host") - before) * 1000 / ($(now_ms) - since)))
    probability=$(printf '0.%02d' "$loss")
    inside "$host" iptables -A INPUT ! -i lo -m statistic --mode random --probability "$probability" -j DROP
    inside "$host" iptables -A OUTPUT ! -o lo -m statistic --mode random --probability "$probability" -j DROP
    before=$(actor_frames "$host") since=$(now_ms)
    training_goes_on 10 "one link loses $loss %"
    sleep "$LOSSY_TIME"
    after=$(actor_frames "$host")
    lossy=$(((after - before) * 1000 / ($(now_ms) - since)))
    ((after > before)) || fail "$host made nothing on a link that loses $loss %"
    drop_none "$host"
    since=$(now_ms)
    wait_until 30 'all actors are connected' is_connected "$ACTORS"
    before=$(actor_frames "$host")
    wait_until 30 "$host goes on" actor_goes_on "$host" "$before"
    local back=$(($(now_ms) - since))
    training_goes_on 10 'after the lossy link'
    row "one link loses $loss % of all packets each way for $LOSSY_TIME s" \
        "its actor went on with $lossy instead of $sound frames/s; the others went on" "$(seconds "$back") s"
}
actor_goes_on() { (($(actor_frames "$1") > $2)); }

trained_by_summary() { sed -n 's/^trained *\([0-9]*\) frames.*/\1/p' "$work/$1-result.log" | tail -n 1; }

# Stopped on one host, started on another with the same run directory: the actors' name has both addresses.
learner_moves() {
    local since at_stop
    stop learner TERM
    at_stop=$(trained_by_summary learner)
    [[ -n $at_stop ]] || fail "the learner's summary is missing"
    since=$(now_ms)
    start_learner spare
    wait_until 60 "frames above $at_stop" frames_above "$at_stop"
    local trains=$(($(now_ms) - since))
    wait_until 30 'all actors are back' is_connected "$ACTORS"
    local back=$(($(now_ms) - since))
    training_goes_on 10 'after the learner moved'
    grep -q "resuming after update [0-9]*, $at_stop frames" "$work/learner-spare.log" ||
        fail "the learner did not go on from $at_stop frames"
    row 'the learner moves to another host' "stopped at $at_stop frames, went on from exactly there; actors tried both addresses of its name" \
        "trains after $(seconds "$trains") s, all actors after $(seconds "$back") s"
}

# What the actors themselves say at their end: each has lived from the first to the last.
made_by_actors() {
    cat "$work"/actor*.log | sed 's/\x1b\[[0-9;]*m//g' | awk '/the run is over/ {
        for (i = 1; i <= NF; i++) if (sub(/^trajectories=/, "", $i)) sum += $i
    } END { print sum + 0 }'
}

# Actors first, so that the learner hears every farewell: then nothing may be on its way.
stop_all() {
    local number longest=0
    for ((number = 1; number <= ACTORS; number++)); do
        stop "actor$number" TERM
        ((status == 0)) || fail "actor$number ended with $status"
        ((stop_ms <= longest)) || longest=$stop_ms
    done
    wait_until 10 'no actor is connected' is_connected 0
    wait_until 10 'the account closes' account_is_closed
    (($(made_by_actors) == produced)) || fail "the learner knows of $produced trajectories, the actors made $(made_by_actors)"
    stop "$learner_host" TERM
    ((stop_ms < 10000)) || fail "the learner took $stop_ms ms to stop"
    row 'all stopped (SIGTERM)' "actors left with 0; account closed: $(account_text); the actors count the same" \
        "each actor $(seconds "$longest") s at most, learner $(seconds "$stop_ms") s"
}

need_for_hosts ip iptables curl
trap clean_up EXIT
make_hosts
start_learner learner
for ((number = 1; number <= ACTORS; number++)); do start_actor "actor$number"; done
wait_until 30 'all actors are connected' is_connected "$ACTORS"
training_goes_on 10 'after the start'

actor_outage "an actor's cable pulled" pull_cable plug_cable actor1
actor_outage "an actor's packets dropped without a word" drop_all drop_none actor2
for loss in "${LOSSES[@]}"; do lossy_link "$loss" actor3; done
learner_outage
learner_moves
stop_all
print_table
