#!/usr/bin/env bash
# Actors that come and go by dozens, and actors that are unlike. First one run in which 2 actors become 64, 64 become 1, 1 becomes 64
# and 64 become 2, ten times; of those taken away half are killed (SIGKILL) and half are asked (SIGTERM). Training must never stand
# still for more than a bound, the run must be solved and its policy kept, and the account must close, with nothing lost but by killed actors. Then a
# run in which one actor is ten times slower than four ordinary ones, one is on a lossy link and one so far away that it sends one
# trajectory a second. Prints a table of each; exits 1 at the first thing that does not hold.
#
#   scripts/scaling-test.sh    needs root, iproute2, iptables, curl and python3; about 5 minutes
#   BIN_DIR=path ..            programs that were built elsewhere; default target/release, built if need be
#   ROUNDS=n ..                rounds of 2 -> 64 -> 1 -> 64 -> 2 actors; default 10
#   KEEP=1 ..                  leaves logs and run directories, and says where
#
# It measures a machine that does little else: where builds take the cores, the stalls are theirs.
#
# Touches no namespace but its own two, whose names begin with `impala-scaling`, and removes them at the end, whatever that is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh
# shellcheck source=scripts/faults-lib.sh
source scripts/faults-lib.sh

# Settings of the person or machine that runs this must not change what is tested.
unset_settings

readonly NEAR=impala-scaling NEAR_ADDRESS=10.78.0.1
readonly FAR=impala-scaling-lossy FAR_ADDRESS=10.78.0.2
readonly ROUNDS=${ROUNDS:-10} MANY=64
# The longest that trained frames may stand still, in milliseconds.
readonly STALL_MAX=5000
# The lowest that the mean return of 100 episodes may be after solving, whoever joins.
readonly WORST_MIN=400
# A change is watched for so long after all actors are connected; columns and lag are those of the last part of it (ms).
readonly WATCHED=3000 SETTLED=1500
# Twice the target of 4 updates: more is no lag that the batches follow.
readonly LAG_MAX=8
# Environments of an actor, steps of a trajectory, trajectories that an actor has on its way: the defaults.
readonly COLUMNS_EACH=8 UNROLL=10 IN_FLIGHT=1
# The unlike actors: for how long, the per cent of packets that a link loses each way, seconds that a link takes each way, and
# seconds that the slow actor acts and stands still in turn.
readonly UNLIKE_TIME=40 LOSS=0.05 DELAY=0.5 GOES=0.002 STANDS=0.018

work=$(mktemp -d)
# Processes: of the actors by name, and of what else runs.
declare -A actors=()
helpers=()
learner=
# Names of the actors that run, the oldest first, and how many there ever were.
here=()
ever=0 killed=0

inside() {
    local namespace=$1
    shift
    ip netns exec "$namespace" "$@"
}
scrape() { inside "$NEAR" curl -fsS --max-time 2 http://127.0.0.1:9090/metrics 2>/dev/null; }

clean_up() {
    local result=$? pid
    if ((result != 0)); then tail -n 15 "$work"/learner*.log >&2 || true; fi
    # A stopped process dies by SIGKILL, too.
    for pid in "${helpers[@]}" "${actors[@]}" $learner; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null
    remove_hosts
    if [[ -n ${KEEP:-} ]]; then say "kept: $work"; else rm -rf "$work"; fi
}

remove_hosts() {
    ip netns delete "$FAR" 2>/dev/null || true
    ip netns delete "$NEAR" 2>/dev/null || true
}

make_hosts() {
    local namespace
    remove_hosts
    for namespace in "$NEAR" "$FAR"; do
        ip netns add "$namespace"
        ip -n "$namespace" link set lo up
    done
    ip -n "$NEAR" link add eth0 type veth peer name eth0 netns "$FAR"
    ip -n "$NEAR" address add "$NEAR_ADDRESS/24" dev eth0
    ip -n "$FAR" address add "$FAR_ADDRESS/24" dev eth0
    for namespace in "$NEAR" "$FAR"; do ip -n "$namespace" link set eth0 up; done
}

# A run that only a signal ends, and that is solved on the way.
start_learner() {
    ip netns exec "$NEAR" "$bin_dir/impala-learner" --listen 0.0.0.0:50051 --metrics-listen 127.0.0.1:9090 \
        --report-interval 0.1 --run-dir "$work/$1" --frames-max 1000000000000 --frames-after-solved 1000000000000 \
        --time-max 2h >"$work/learner-$1-result.log" 2>"$work/learner-$1.log" &
    learner=$!
}

# An actor by name; namespace, learner and where its metrics are, if not the usual.
start_actor() {
    local name=$1 namespace=${2:-$NEAR} url=${3:-http://127.0.0.1:50051} metrics=${4:-off}
    ip netns exec "$namespace" "$bin_dir/impala-actor" --learner "$url" --name "$name" \
        --metrics-listen "$metrics" >"$work/$name.log" 2>&1 &
    actors[$name]=$!
}

# Looks at the metrics every 0.1 s: a line with the time in ms, frames, updates, sum and count of the lags, and what limits the run.
watch() {
    local page
    while true; do
        page=$(scrape) && awk -v now="$(now_ms)" '
            $1 == "impala_learner_frames_total" { frames = $2 }
            $1 == "impala_learner_updates_total" { updates = $2 }
            $1 == "impala_learner_policy_lag_updates_sum" { sum = $2 }
            $1 == "impala_learner_policy_lag_updates_count" { count = $2 }
            $1 ~ /^impala_learner_limited_by/ && $2 == 1 { split($1, part, "\""); limit = part[2] }
            END { printf "%s %.0f %.0f %.0f %.0f %s\n", now, frames, updates, sum, count, limit }' <<<"$page" || true
        sleep "$POLL"
    done >"$work/$1.watch"
}
start_watch() {
    watch "$1" &
    watcher=$!
    helpers+=("$watcher")
}

# From the watch between two times: `stall` (longest time between two looks at which frames had grown, ms) and `unseen` (longest time
# between two looks), and of the last `SETTLED` ms `columns` and `lag` (means of an update and of a trajectory, in tenths).
read_watch() {
    read -r stall unseen columns lag < <(awk -v from="$2" -v to="$3" -v settled="$SETTLED" -v unroll="$UNROLL" '
        $1 > to { exit }
        { if ($1 >= from && looked && $1 - looked > unseen) unseen = $1 - looked; looked = $1 }
        $2 > frames {
            if ($1 >= from && grown && $1 - grown > stall) stall = $1 - grown
            grown = $1; frames = $2
        }
        $1 <= to - settled { f = $2; u = $3; s = $4; c = $5 }
        { frames_now = $2; updates = $3; sum = $4; count = $5 }
        END {
            if (to - grown > stall) stall = to - grown
            du = updates - u; dc = count - c
            printf "%d %d %d %d\n", stall, unseen, du ? 10 * (frames_now - f) / du / unroll : 0, dc ? 10 * (sum - s) / dc : 0
        }' "$work/$1.watch")
}
tenths() { printf '%d.%d' "$(($1 / 10))" "$(($1 % 10))"; }

# Exit status of an actor that was told to end, or of one that was killed.
reap() {
    local name=$1 expected=$2 status=0
    wait "${actors[$name]}" || status=$?
    unset "actors[$name]"
    ((status == expected)) || fail "$name ended with $status, not $expected"
}

add_actors() {
    while ((${#here[@]} < $1)); do
        ever=$((ever + 1))
        start_actor "actor-$ever"
        here+=("actor-$ever")
    done
}

# The oldest go: every second one is killed, the others are asked.
take_actors() {
    local name count=$((${#here[@]} - $1)) index=0 leaving
    leaving=("${here[@]:0:count}")
    here=("${here[@]:count}")
    for name in "${leaving[@]}"; do
        if ((index % 2 == 0)); then kill -KILL "${actors[$name]}"; else kill -TERM "${actors[$name]}"; fi
        index=$((index + 1))
    done
    # A shell tells of every child that was killed.
    for ((index = 0; index < count; index++)); do reap "${leaving[index]}" "$((index % 2 == 0 ? 137 : 0))"; done 2>/dev/null
    by_kill=$(((count + 1) / 2)) by_term=$((count / 2))
    killed=$((killed + by_kill))
}

# The number of actors changes while training goes on.
change_to() {
    local round=$1 wanted=$2 before=${#here[@]} since connected_ms how expected
    since=$(now_ms)
    if ((wanted > before)); then
        add_actors "$wanted"
        how="$((wanted - before)) came"
    else
        take_actors "$wanted"
        how="$by_kill killed, $by_term asked"
    fi
    wait_until 30 "$wanted actors are connected" is_connected "$wanted"
    connected_ms=$(($(now_ms) - since))
    while (($(now_ms) < since + connected_ms + WATCHED)); do sleep "$POLL"; done
    read_watch scaling "$since" "$(now_ms)"
    ((stall <= longest_stall)) || longest_stall=$stall
    table+=("| $round | $before -> $wanted | $how | $(seconds "$connected_ms") s | $(seconds "$stall") s | $(tenths "$columns") | $(tenths "$lag") |")
    say "${table[-1]}"
    ((stall <= STALL_MAX)) || fail "trained frames stood still for $stall ms, more than $STALL_MAX (longest time between two looks: $unseen ms)"
    expected=$((wanted * IN_FLIGHT * COLUMNS_EACH / 4))
    ((expected >= COLUMNS_EACH)) || expected=$COLUMNS_EACH
    ((columns >= 5 * expected && columns <= 20 * expected)) ||
        fail "$wanted actors: batches of $(tenths "$columns") columns, far from the $expected that they are for"
    ((lag <= 10 * LAG_MAX)) || fail "$wanted actors: the mean policy lag is $(tenths "$lag") updates, more than $LAG_MAX"
}

# Stops the learner while its actors are connected: they end by it.
stop_learner() {
    local since name status=0
    since=$(now_ms)
    kill -TERM "$learner"
    wait "$learner" || status=$?
    learner=
    stop_ms=$(($(now_ms) - since))
    ((status == 130)) || fail "the learner ended with $status, not 130 (by a signal)"
    ((stop_ms < 10000)) || fail "the learner took $stop_ms ms to stop"
    for name in "${!actors[@]}"; do reap "$name" 0; done
    here=()
    kill "$watcher" 2>/dev/null || true
}

# One value of a run's summary, e.g. `summary scaling account.lost`; empty where there is none.
summary() {
    python3 -c '
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = None if value is None else value.get(key)
print("" if value is None else value if isinstance(value, (str, int)) else json.dumps(value))' "$work/$1/summary.json" "$2"
}

# The account in a run's summary is closed: nothing is on its way after the end.
summary_closes() {
    local run=$1 key
    produced=$(summary "$run" account.produced) trained=$(summary "$run" account.trained) lost=$(summary "$run" account.lost)
    in_flight=0 refused=0
    for key in stale invalid shutdown; do refused=$((refused + $(summary "$run" "account.refused_$key"))); done
    ((produced > 0 && produced == trained + refused + lost)) || fail "the account does not close: $(account_text)"
    (($(summary "$run" account.refused_invalid) == 0)) || fail 'trajectories were refused as damaged'
}

# What the actors that were not killed say at their end: how many there are, and how many trajectories they lost.
farewells() {
    cat "$work"/actor-*.log | sed 's/\x1b\[[0-9;]*m//g' | awk '/the run is over/ {
        count++
        for (i = 1; i <= NF; i++) if (sub(/^lost=/, "", $i)) lost += $i
    } END { print count + 0, lost + 0 }'
}

live_scaling() {
    local round said lost_by_asked solved worst
    local heads='| round | actors | how | all connected after | longest stall | columns of a batch | policy lag |'
    longest_stall=0
    start_learner scaling
    add_actors 2
    wait_until 30 'both actors are connected' is_connected 2
    start_watch scaling
    training_goes_on 10 'after the start'
    for ((round = 1; round <= ROUNDS; round++)); do
        change_to "$round" "$MANY"
        change_to "$round" 1
        change_to "$round" "$MANY"
        change_to "$round" 2
    done
    add_actors "$MANY"
    wait_until 30 'all actors are connected' is_connected "$MANY"
    stop_learner
    solved=$(summary scaling solved.frames)
    [[ -n $solved ]] || fail 'the run is not solved'
    summary_closes scaling
    # Of what a killed actor had on its way at most all is lost.
    ((lost <= killed * IN_FLIGHT)) || fail "$lost lost, but only $killed actors were killed"
    read -r said lost_by_asked < <(farewells)
    ((said == ever - killed)) || fail "$said actors said how they ended, of $((ever - killed)) that were not killed"
    ((lost_by_asked == 0)) || fail "actors that were not killed lost $lost_by_asked trajectories"
    worst=$(summary scaling worst_after_solved)
    printf '\n%s\n|---|---|---|---|---|---|---|\n' "$heads"
    printf '%s\n' "${table[@]}"
    printf '\nSolved after %s of %s frames; worst mean of 100 episodes after it: %s. Effective sample size at the end: %.3f. ' \
        "$solved" "$(summary scaling frames)" "$worst" "$(summary scaling policy.effective_samples)"
    printf 'Longest stall: %s s. Actors: %d, of which %d killed. The account closes: %s (stale %s); the learner stopped in %s s.\n' \
        "$(seconds "$longest_stall")" "$ever" "$killed" "$(account_text)" "$(summary scaling account.refused_stale)" "$(seconds "$stop_ms")"
    ((${worst%.*} >= WORST_MIN)) || fail "the policy was lost: a mean of $worst after solving, less than $WORST_MIN"
}

# A process acts for GOES and stands still for STANDS seconds, in turn. Waits without a process for each wait.
stop_and_go() {
    local never
    exec {never}<> <(:)
    while kill -STOP "$1"; do
        read -rt "$STANDS" -u "$never" || true
        kill -CONT "$1"
        read -rt "$GOES" -u "$never" || true
    done 2>/dev/null
}

# Sets `actor_trained` and `actor_stale`: what the actor itself counts.
read_actor() {
    local page
    page=$(inside "$1" curl -fsS --max-time 5 "http://127.0.0.1:$2/metrics") || return 1
    read -r actor_trained actor_stale < <(awk '
        $1 == "impala_actor_receipts_total{disposition=\"trained\"}" { trained = $2 }
        $1 == "impala_actor_receipts_total{disposition=\"stale\"}" { stale = $2 }
        END { printf "%d %d\n", trained, stale }' <<<"$page")
}

is_named() { grep -q "actor $1[ ,].*in vain" "$work/learner-unlike.log" || [[ $(summary unlike oldest_actors) == *"\"$1\""* ]]; }

unlike_actors() {
    local entry name namespace url index=0
    # Name, namespace and port of the metrics.
    local -r list=("ordinary-1 $NEAR" "ordinary-2 $NEAR" "ordinary-3 $NEAR" "ordinary-4 $NEAR" "slow $NEAR" "lossy $FAR" "distant $NEAR")
    local -A before=() made=()
    start_learner unlike
    ip netns exec "$NEAR" python3 scripts/delay-link.py 50052 50051 "$DELAY" 2>"$work/delay-link.log" &
    helpers+=($!)
    wait_until 10 'the long way is open' inside "$NEAR" bash -c ': </dev/tcp/127.0.0.1/50052'
    for entry in "${list[@]}"; do
        read -r name namespace <<<"$entry"
        case $name in
        lossy) url=http://$NEAR_ADDRESS:50051 ;;
        distant) url=http://127.0.0.1:50052 ;;
        *) url=http://127.0.0.1:50051 ;;
        esac
        start_actor "$name" "$namespace" "$url" "127.0.0.1:$((9101 + index))"
        index=$((index + 1))
    done
    wait_until 30 'all actors are connected' is_connected "${#list[@]}"
    start_watch unlike
    inside "$FAR" iptables -A INPUT ! -i lo -m statistic --mode random --probability "$LOSS" -j DROP
    inside "$FAR" iptables -A OUTPUT ! -o lo -m statistic --mode random --probability "$LOSS" -j DROP
    stop_and_go "${actors[slow]}" &
    local -r duty=$!
    helpers+=("$duty")
    training_goes_on 10 'with unlike actors'
    count_unlike before
    sleep "$UNLIKE_TIME"
    count_unlike made
    kill "$duty"
    kill -CONT "${actors[slow]}"
    stop_learner
    judge_unlike
}

# What each actor has had trained and refused by now, into the named table.
# shellcheck disable=SC2034,SC2004 # The table is the caller's, and its keys are names.
count_unlike() {
    local -n counts=$1
    local index=0 name namespace entry
    for entry in "${list[@]}"; do
        read -r name namespace <<<"$entry"
        wait_until 10 "the metrics of $name" read_actor "$namespace" $((9101 + index))
        counts[$name]="$actor_trained $actor_stale"
        index=$((index + 1))
    done
}

judge_unlike() {
    local entry name trained_before stale_before trained_by stale_by note
    [[ -n $(summary unlike solved.frames) ]] || fail 'the run with unlike actors is not solved'
    summary_closes unlike
    printf '\n| actor | trained in %d s | refused as too old | the learner says |\n|---|---|---|---|\n' "$UNLIKE_TIME"
    for entry in "${list[@]}"; do
        read -r name _ <<<"$entry"
        read -r trained_before stale_before <<<"${before[$name]}"
        read -r trained_by stale_by <<<"${made[$name]}"
        trained_by=$((trained_by - trained_before)) stale_by=$((stale_by - stale_before)) note='-'
        if is_named "$name"; then note=$(said_of "$name"); fi
        printf '| %s | %d | %d | %s |\n' "$name" "$trained_by" "$stale_by" "$note"
        case $name in
        ordinary-* | lossy | slow) ((trained_by > 0)) || fail "$name got nothing trained" ;;
        distant)
            ((trained_by > 0 || stale_by > 0)) || fail "of $name nothing was trained, and nothing refused"
            ((trained_by > 0)) || is_named "$name" || fail "$name works in vain and is not named"
            ;;
        esac
    done
    printf '\nWhat limited the run, in looks of 0.1 s:%s. In the summary: %s. Oldest actors: %s. The account closes: %s.\n' \
        "$(awk '{ seen[$6]++ } END { for (limit in seen) printf " %s %d", limit, seen[limit] }' "$work/unlike.watch")" \
        "$(summary unlike diagnosis.limit)" "$(summary unlike oldest_actors)" "$(account_text)"
}
said_of() {
    local line
    line=$(grep -o "actor $1[ ,].*" "$work/learner-unlike.log" | grep 'in vain' | tail -n 1) || line='among the oldest actors'
    printf '%s' "${line%%:*}"
}

need_for_hosts ip iptables curl python3
trap clean_up EXIT
make_hosts
live_scaling
unlike_actors
