# shellcheck shell=bash
# What scripts/docker-test.sh, scripts/netns-test.sh and scripts/scaling-test.sh share: reading the learner's metrics, waiting with a
# limit, checking the trajectory account, and the table of faults. Sourced, never run. The script that sources it defines `scrape`,
# which prints the learner's metrics page or fails.

# Time between two looks; recovery times are exact to this and the learner's report interval of 0.2 s.
readonly POLL=0.1

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() {
    say "error: $*"
    exit 1
}
# What `set -e` ends would else end without a word, in functions too.
set -o errtrace
trap 'say "error: line $LINENO: $BASH_COMMAND"' ERR

now_ms() { date +%s%3N; }
seconds() { printf '%d.%d' "$(($1 / 1000))" "$(($1 % 1000 / 100))"; }

# The value of one metric, label included as it stands on the page; whole numbers stay whole.
metric() {
    local page
    page=$(scrape) || return 1
    awk -v name="$1" '$1 == name { printf "%.0f\n", $2; found = 1 } END { exit !found }' <<<"$page"
}

frames() { metric impala_learner_frames_total; }
connected() { metric impala_learner_actors_connected; }
is_connected() { [[ $(connected) == "$1" ]]; }

# Trained frames are more than the given number.
frames_above() {
    local frames
    frames=$(frames) && ((frames > $1))
}

# How long the last wait took, in milliseconds.
export waited_ms=0

# Waits until a command succeeds, `limit` seconds at most; sets `waited_ms`.
wait_until() {
    local limit=$1 what=$2 since deadline
    shift 2
    since=$(now_ms)
    deadline=$((since + limit * 1000))
    until "$@" >/dev/null 2>&1; do
        (($(now_ms) < deadline)) || fail "not within $limit s: $what"
        sleep "$POLL"
    done
    waited_ms=$(($(now_ms) - since))
}

# Training goes on: frames grow, and then grow again, so that what was on its way before does not count. Sets `waited_ms`.
training_goes_on() {
    local limit=$1 what=$2 since start
    since=$(now_ms)
    wait_until "$limit" "the learner's metrics ($what)" frames
    start=$(frames)
    wait_until "$limit" "frames grow ($what)" frames_above "$start"
    start=$(frames)
    wait_until "$limit" "frames go on growing ($what)" frames_above "$start"
    waited_ms=$(($(now_ms) - since))
}

# Sets produced, trained, refused, lost and in_flight from one page.
read_account() {
    local page
    page=$(scrape) || return 1
    local of=impala_learner_trajectories_total
    read -r produced trained refused lost in_flight < <(awk -v of="$of" '
        $1 == "impala_learner_trajectories_produced_total" { produced = $2 }
        $1 == "impala_learner_queue_depth_trajectories" { in_flight = $2 }
        index($1, of "{") == 1 {
            if ($1 ~ /"trained"/) trained = $2
            else if ($1 ~ /"lost"/) lost = $2
            else refused += $2
        }
        END { printf "%.0f %.0f %.0f %.0f %.0f\n", produced, trained, refused, lost, in_flight }' <<<"$page")
}

# Everything that was produced is trained, refused or lost, and nothing is on its way any more.
account_is_closed() {
    read_account && ((produced > 0 && in_flight == 0 && produced == trained + refused + lost))
}

account_text() {
    printf '%s produced = %s trained + %s refused + %s lost + %s in flight' \
        "$produced" "$trained" "$refused" "$lost" "$in_flight"
}

table=()
# A row of the table: fault, what happened, recovery time.
row() {
    table+=("| $1 | $2 | $3 |")
    say "$1: $2; $3"
}

print_table() {
    printf '\n| fault | what happened | recovery |\n|---|---|---|\n'
    printf '%s\n' "${table[@]}"
}

# What tests on hosts made of network namespaces need: root, the named tools, and learner and actor, which are built if nobody brings
# them. Sets `bin_dir`.
need_for_hosts() {
    local tool
    [[ $EUID -eq 0 ]] || fail 'run this as root: it makes network namespaces'
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install iproute2 iptables curl python3"
    done
    bin_dir=${BIN_DIR:-${CARGO_TARGET_DIR:-target}/release}
    if [[ -z ${BIN_DIR:-} ]]; then cargo build --release --locked -p impala-learner -p impala-actor; fi
}
