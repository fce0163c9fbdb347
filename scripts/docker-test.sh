#!/usr/bin/env bash
# The containers as a person would run them, and faults: builds the images, lets compose solve CartPole with 4 actors, looks at
# Prometheus, and then, in a run that does not end, scales to 8 actors, kills, pauses and disconnects one, kills, stops and
# moves the learner, and stops everything. After each fault training must go on, and at the end the trajectory account must
# close. Prints a table; exits 1 at the first thing that does not hold.
#
#   scripts/docker-test.sh             everything; about 6 minutes after the images are built
#   scripts/docker-test.sh STEP..      some of: build solve monitoring faults
#   OUT=path ..                        leaves the directory of the run with the faults there
#
# Needs root on the machine of the daemon, to kill processes behind docker's back as a crash would. Installs what is missing
# (scripts/docker-setup.sh). Has a compose project of its own, impala-test, and removes it at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh
# shellcheck source=scripts/faults-lib.sh
source scripts/faults-lib.sh

# Settings of the person or machine that runs this must not change what is tested; base images and CA bundle may.
unset_settings '*_IMAGE' IMPALA_BUILD_CA

readonly PROJECT=impala-test METRICS_PORT=19090 PROMETHEUS_PORT=19099
export IMPALA_NETWORK=$PROJECT IMPALA_METRICS_PORT=$METRICS_PORT IMPALA_PROMETHEUS_PORT=$PROMETHEUS_PORT
# How long an actor is out of reach: longer than both sides' keepalive takes to notice.
readonly OUTAGE=45
# A peer that vanished must be noticed within this.
readonly NOTICE_MAX=30
# Frames of an update of the default configuration.
readonly UPDATE_FRAMES=80
readonly ACTOR_SIZE_MAX=20000000
# Stands for the Prometheus image where no registry is reached.
readonly PROMETHEUS_STANDIN=impala-standin-prometheus:bookworm

# With the base images of docker/.env, but not a person's settings in it.
compose() { docker compose --env-file "$work/env" -f docker/compose.yaml -p "$PROJECT" "$@"; }
scrape() { curl -fsS --max-time 2 "http://127.0.0.1:$METRICS_PORT/metrics" 2>/dev/null; }
container() { compose ps --all --quiet "$1" | sed -n "${2:-1}p"; }
learner() { container learner; }
of_container() { docker inspect --format "$2" "$1"; }
restarts_of() { of_container "$1" '{{.RestartCount}}'; }
exit_code_of() { of_container "$1" '{{.State.ExitCode}}'; }
is_healthy() { [[ $(of_container "$1" '{{.State.Health.Status}}') == healthy ]]; }
is_state() { [[ $(metric "impala_learner_run_state{state=\"$1\"}") == 1 ]]; }
# As a crash: docker does not know of it, so its restart policy acts.
crash() { kill -KILL "$(of_container "$1" '{{.State.Pid}}')"; }
up() { compose up --detach --no-build --quiet-pull "$@" 2>"$work/up.log" || { cat "$work/up.log" >&2; fail "compose up $*"; }; }
down() { compose --profile monitoring down --volumes --timeout 10 >/dev/null 2>&1 || true; }
# Actors that this learner process has welcomed.
joins() { docker logs "$(learner)" 2>&1 | grep -c 'an actor connected'; }
joins_above() { (($(joins) > $1)); }

work=$(mktemp -d)
placeholder=
clean_up() {
    local status=$?
    if ((status != 0)) && [[ -n $(learner 2>/dev/null) ]]; then
        say 'the end of the logs:'
        compose logs --tail 15 >&2 || true
    fi
    if [[ -n $placeholder ]]; then docker rm -f "$placeholder" >/dev/null 2>&1 || true; fi
    down
    rm -rf "$work"
}

build_images() {
    local image size
    say 'building the images; 10 minutes and more on 2 cores the first time'
    compose build learner actor
    docker build --quiet -f docker/Dockerfile --target impala -t impala:latest --build-arg "BUILDER_IMAGE=$IMPALA_BUILDER_IMAGE" \
        --secret "id=ca,src=${IMPALA_BUILD_CA:-/dev/null}" . >/dev/null
    for image in impala-learner impala-actor impala; do
        size=$(of_container "$image:latest" '{{.Size}}')
        [[ $(of_container "$image:latest" '{{.Config.User}}') == 65532:65532 ]] || fail "$image does not run as 65532:65532"
        say "image $image: $((size / 1000000)).$((size / 100000 % 10)) MB"
    done
    compose_names_every_setting
    size=$(of_container impala-actor:latest '{{.Size}}')
    ((size < ACTOR_SIZE_MAX)) || fail "impala-actor has $size bytes, $ACTOR_SIZE_MAX are allowed"
}

# Every setting of the learner can be given to compose as an environment variable; what the image or the file fixes is exempt.
compose_names_every_setting() {
    local name missing=()
    for name in $(docker run --rm impala-learner:latest --help | grep -o 'IMPALA_[A-Z][A-Z0-9_]*' | sort -u); do
        case $name in IMPALA_LISTEN | IMPALA_METRICS_LISTEN | IMPALA_RUNS_DIR | IMPALA_CONFIG) continue ;; esac
        grep -q "^      $name:" docker/compose.yaml || missing+=("$name")
    done
    ((${#missing[@]} == 0)) || fail "docker/compose.yaml does not pass on ${missing[*]}"
}

# What an actor that has ended says it made.
made_by() { docker logs "$1" 2>&1 | sed -n 's/.*"the run is over".*"trajectories":\([0-9]*\).*/\1/p' | tail -n 1; }

# CartPole solved by 4 actors together, in batches that need them all; a run that is over is no crash loop; and the actors' own
# counts add up to the learner's.
solve() {
    local index id made sum=0 before
    down
    IMPALA_BATCH_SIZE=32 up --wait --wait-timeout 60
    wait_until 120 'the run is completed' is_state completed
    (($(metric impala_learner_mean_return) >= 475)) || fail 'completed with a mean return below 475'
    before=$(frames)
    docker run --rm --network "$PROJECT" impala:latest status --learner http://learner:50051 >&2
    row 'none: 4 actors, each in every batch' "CartPole solved after $before frames; all healthy, then completed" '-'

    sleep 10
    for index in 1 2 3 4; do
        id=$(container actor "$index")
        is_healthy "$id" || fail "actor $index is not healthy in a completed run"
        (($(restarts_of "$id") == 0)) || fail "actor $index was started again in a completed run"
    done
    compose stop actor >/dev/null 2>&1
    for index in 1 2 3 4; do
        made=$(made_by "$(container actor "$index")")
        ((${made:-0} > 0)) || fail "actor $index made nothing"
        sum=$((sum + made))
    done
    account_is_closed || fail "the account does not close: $(account_text)"
    ((sum == produced)) || fail "the actors made $sum trajectories, the learner knows of $produced"

    crash "$(learner)"
    wait_until 30 'a restarted learner says completed' is_state completed
    (($(restarts_of "$(learner)") == 1)) || fail 'docker did not start the killed learner again'
    (($(frames) == before)) || fail "$before frames became $(frames): a completed run was trained anew"
    row 'learner killed after completion' 'started again, says completed, trains nothing anew' "$(seconds "$waited_ms") s"
}

prometheus_image() {
    local image
    image=$(compose --profile monitoring config --images prometheus | grep prometheus)
    if docker image inspect "$image" >/dev/null 2>&1 || timeout 120 docker pull -q "$image" >/dev/null 2>&1; then return; fi
    say "no registry has $image for us: Debian's package instead"
    export IMPALA_PROMETHEUS_IMAGE=$PROMETHEUS_STANDIN
    if docker image inspect "$PROMETHEUS_STANDIN" >/dev/null 2>&1; then return; fi
    docker build --quiet -t "$PROMETHEUS_STANDIN" - >/dev/null <<DOCKERFILE
FROM $IMPALA_GPU_RUNTIME_IMAGE
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && mkdir -p /prometheus && chown 65534 /prometheus
USER 65534
ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
DOCKERFILE
}

targets_up() {
    local up
    up=$(curl -fsS "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/targets?state=active" | grep -o '"health":"up"' | wc -l)
    ((up == $1))
}

# Prometheus finds the learner and as many actors as there are.
monitoring() {
    prometheus_image
    up learner actor prometheus
    wait_until 60 'Prometheus scrapes the learner and 4 actors' targets_up 5
    up --scale actor=6 learner actor prometheus
    wait_until 60 'Prometheus scrapes the learner and 6 actors' targets_up 7
    row 'none: monitoring, 4 then 6 actors' 'Prometheus found the new actors by DNS' "$(seconds "$waited_ms") s"
}

# Begins a run that nothing but a signal ends.
begin_fault_run() {
    down
    export IMPALA_RUN=faults IMPALA_FRAMES_MAX=1000000000000 IMPALA_FRAMES_AFTER_SOLVED=1000000000000 IMPALA_TIME_MAX=2h
    up --wait --wait-timeout 60
    wait_until 30 '4 actors are connected' is_connected 4
    training_goes_on 10 'after the start'
}

scale_up() {
    local since
    since=$(now_ms)
    up --scale actor=8
    wait_until 30 '8 actors are connected' is_connected 8
    local joined=$(($(now_ms) - since))
    training_goes_on 10 'with 8 actors'
    row 'scaled from 4 to 8 actors' 'all eight work' "$(seconds "$joined") s from the command"
}

kill_actor() {
    local id before since
    id=$(container actor 1) before=$(joins)
    since=$(now_ms)
    crash "$id"
    wait_until 30 'the killed actor is back' joins_above "$before"
    wait_until 10 '8 actors are connected' is_connected 8
    local back=$(($(now_ms) - since))
    (($(restarts_of "$id") == 1)) || fail "docker did not start the killed actor again"
    training_goes_on 10 'after an actor was killed'
    row 'an actor killed (SIGKILL)' 'the others went on; docker started it again' "$(seconds "$back") s until it worked again"
}

# Puts an actor out of reach for OUTAGE with `cut ID`, then back with `heal ID`.
outage() {
    local name=$1 cut=$2 heal=$3 id before since noticed
    id=$(container actor 2) before=$(joins)
    since=$(now_ms)
    "$cut" "$id"
    training_goes_on 10 "$name"
    wait_until "$NOTICE_MAX" "the learner notices: $name" is_connected 7
    noticed=$(($(now_ms) - since))
    while (($(now_ms) < since + OUTAGE * 1000)); do sleep 1; done
    training_goes_on 10 "$name, at the end"
    "$heal" "$id"
    since=$(now_ms)
    wait_until 30 "back: $name" joins_above "$before"
    wait_until 10 '8 actors are connected' is_connected 8
    local back=$(($(now_ms) - since))
    (($(restarts_of "$id") == ${4:-0})) || fail "the actor was started again, it should have come back by itself"
    training_goes_on 10 "after: $name"
    row "an actor $name for $OUTAGE s" "the others went on; noticed after $(seconds "$noticed") s; it registered anew" \
        "$(seconds "$back") s"
}
pause_it() { docker pause "$1" >/dev/null; }
unpause_it() { docker unpause "$1" >/dev/null; }
disconnect_it() { docker network disconnect "$PROJECT" "$1"; }
connect_it() { docker network connect --alias actor "$PROJECT" "$1"; }

# Frames in the checkpoint that the learner went on from last, by its own words.
resumed_at() {
    docker logs "$(learner)" 2>&1 | sed -n 's/.*resuming after update [0-9]*, \([0-9]*\) frames.*/\1/p' | tail -n 1
}

# After the learner was away: it goes on from `least` frames or more and all actors return. Sets `resumed`, `trained_after` and
# `all_after`.
learner_is_back() {
    local since=$1 least=$2 what=$3
    wait_until 60 "frames above $least ($what)" frames_above "$least"
    training_goes_on 30 "$what"
    trained_after=$(($(now_ms) - since))
    wait_until 30 "8 actors are connected ($what)" is_connected 8
    all_after=$(($(now_ms) - since))
    resumed=$(resumed_at)
    ((${resumed:-0} >= least)) || fail "resumed at ${resumed:-no} frames, expected $least at least ($what)"
}

kill_learner() {
    local id before least since
    id=$(learner)
    # What is known to be written must not be lost; a newer checkpoint may be found.
    wait_until 60 'a checkpoint is written' metric impala_learner_checkpoint_update
    least=$(($(metric impala_learner_checkpoint_update) * UPDATE_FRAMES))
    before=$(frames) since=$(now_ms)
    ((least > 0)) || fail 'the newest checkpoint is of update 0'
    crash "$id"
    learner_is_back "$since" "$least" 'after the learner was killed'
    (($(restarts_of "$id") == 1)) || fail "docker did not start the killed learner again"
    row 'the learner killed (SIGKILL)' \
        "docker started it again; went on from its checkpoint at $resumed frames ($before in the metrics before)" \
        "trains after $(seconds "$trained_after") s, all 8 actors after $(seconds "$all_after") s"
}

trained_by_summary() { docker logs "$1" 2>/dev/null | sed -n 's/^trained *\([0-9]*\) frames.*/\1/p' | tail -n 1; }

# Stops the learner by SIGTERM; sets `stop_ms` and `at_stop`, the frames that it says it trained.
stop_learner() {
    local id since
    id=$(learner) since=$(now_ms)
    docker stop --time 30 "$id" >/dev/null
    stop_ms=$(($(now_ms) - since))
    ((stop_ms < 10000)) || fail "the learner took $stop_ms ms to stop"
    (($(exit_code_of "$id") != 137)) || fail "the learner did not stop on SIGTERM"
    at_stop=$(trained_by_summary "$id")
    [[ -n $at_stop ]] || fail "the learner's summary is missing"
}

restart_learner() {
    local since
    stop_learner
    sleep 20
    since=$(now_ms)
    docker start "$(learner)" >/dev/null
    learner_is_back "$since" "$at_stop" 'after the learner was stopped'
    ((resumed == at_stop)) || fail "stopped at $at_stop frames, resumed at $resumed"
    row 'the learner stopped (SIGTERM), 20 s away' \
        "stopped in $(seconds "$stop_ms") s at $at_stop frames, went on from exactly there; actors waited" \
        "trains after $(seconds "$trained_after") s, all 8 actors after $(seconds "$all_after") s"
}

address() { of_container "$1" "{{(index .NetworkSettings.Networks \"$PROJECT\").IPAddress}}"; }

# A new container on another address, as a pod that moved: actors must resolve the name again.
move_learner() {
    local old since
    old=$(address "$(learner)")
    stop_learner
    docker rm "$(learner)" >/dev/null
    # A network hands out the lowest address that is free: the learner's.
    placeholder=$(docker run --detach --network "$PROJECT" --env IMPALA_LEARNER=http://nobody.invalid:50051 impala-actor:latest)
    since=$(now_ms)
    up --scale actor=8
    [[ $(address "$(learner)") != "$old" ]] || fail "the learner has its old address $old: nothing was moved"
    learner_is_back "$since" "$at_stop" 'after the learner moved'
    ((resumed == at_stop)) || fail "stopped at $at_stop frames, resumed at $resumed"
    row 'the learner in a new container' "address $old became $(address "$(learner)"); went on from its last checkpoint; actors found it by name" \
        "trains after $(seconds "$trained_after") s, all 8 actors after $(seconds "$all_after") s"
}

# Actors first, so that the learner hears every farewell: then nothing may be on its way.
stop_all() {
    local index id since
    since=$(now_ms)
    compose stop actor >/dev/null 2>&1
    local actors_ms=$(($(now_ms) - since))
    for index in {1..8}; do
        id=$(container actor "$index")
        (($(exit_code_of "$id") == 0)) || fail "actor $index ended with $(exit_code_of "$id")"
    done
    wait_until 10 'no actor is connected' is_connected 0
    wait_until 10 'the account closes' account_is_closed
    local account
    account=$(account_text)
    stop_learner
    row 'all stopped (SIGTERM)' "actors left with 0; account closed: $account" \
        "actors $(seconds "$actors_ms") s, learner $(seconds "$stop_ms") s"
    docker logs "$(learner)" 2>/dev/null | tail -n 12 >&2
    if [[ -n ${OUT:-} ]]; then compose cp learner:/runs/faults "$OUT" >/dev/null; fi
}

faults() {
    begin_fault_run
    scale_up
    kill_actor
    outage paused pause_it unpause_it
    outage 'disconnected from the network' disconnect_it connect_it
    kill_learner
    restart_learner
    move_learner
    stop_all
}

steps=("$@")
((${#steps[@]} > 0)) || steps=(build solve monitoring faults)
[[ $EUID -eq 0 ]] || fail 'run this as root: it kills processes of containers'
scripts/docker-setup.sh
trap clean_up EXIT
grep -E '^IMPALA_(BUILDER_IMAGE|GPU_RUNTIME_IMAGE|BUILD_CA)=' docker/.env >"$work/env"
# shellcheck source=/dev/null
source "$work/env"
for step in "${steps[@]}"; do
    case $step in
        build) build_images ;;
        solve | monitoring | faults) "$step" ;;
        *) fail "no step $step: give build, solve, monitoring or faults" ;;
    esac
done
print_table
