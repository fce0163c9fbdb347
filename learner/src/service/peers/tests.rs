use super::*;
use std::time::Duration;

const WINDOW: usize = 100_000;

fn peers(handles: usize, now: Instant) -> Arc<Peers> {
    Peers::new(Sizes { window: WINDOW, weights: 1 << 20 }, handles, now)
}

fn after(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

#[test]
fn an_actor_is_never_slowed_for_what_it_is_here_for() {
    let start = Instant::now();
    let peers = peers(10_000, start);
    let (actor, _) = peers.connect(start);
    let _registering = actor.ask(None, start).unwrap();
    let _pushing = actor.pushing();
    // Strangers have used up what all share.
    let (stranger, _) = peers.connect(start);
    assert!(stranger.cost(1e9, start) > Duration::ZERO);
    // Ten thousand trajectories a second, a whole window of them without a receipt at a time.
    for second in 0..20 {
        for _ in 0..100 {
            assert_eq!(actor.cost(WINDOW as f64, after(start, f64::from(second))), Duration::ZERO);
            actor.delivered(sending_cost(WINDOW));
        }
    }
}

#[test]
fn what_is_good_for_nothing_is_slowed_to_a_few_percent_of_a_thread() {
    let start = Instant::now();
    let peers = peers(10_000, start);
    let (stranger, _) = peers.connect(start);
    // As fast as it is let: small frames for ten seconds.
    let (mut now, mut sent) = (start, 0.0);
    while now < after(start, 10.0) {
        sent += 65_536.0;
        now += stranger.cost(65_536.0, now).max(Duration::from_micros(1));
    }
    let allowed = FREE_BYTES + EACH_BURST + 10.0 * (FREE_PER_SECOND + EACH_PER_SECOND);
    assert!((0.9 * allowed..=allowed + 131_072.0).contains(&sent), "{sent} of {allowed}");
}

#[test]
fn many_strangers_share_one_budget() {
    let start = Instant::now();
    let peers = peers(10_000, start);
    let strangers: Vec<_> = (0..500).map(|_| peers.connect(start).0).collect();
    let mut due: Vec<_> = strangers.iter().map(|_| start).collect();
    let mut sent = 0.0;
    for tenth in 0..100 {
        let now = after(start, f64::from(tenth) / 10.0);
        for (stranger, due) in strangers.iter().zip(&mut due) {
            while *due <= now {
                sent += 16_384.0;
                *due = now + stranger.cost(16_384.0, now).max(Duration::from_millis(1));
            }
        }
    }
    let free = 500.0 * (FREE_BYTES + 10.0 * FREE_PER_SECOND);
    let allowed = free + ALL_BURST + 10.0 * ALL_PER_SECOND;
    // Each may overdraw by what it had read before it heard of it.
    assert!(sent <= allowed + 500.0 * 2.0 * 16_384.0, "{sent} of {allowed}");
}

#[test]
fn requests_are_bounded_on_a_connection_and_of_all() {
    let start = Instant::now();
    let peers = peers(10_000, start);
    let (one, _) = peers.connect(start);
    let mut calls: Vec<_> = (0..REQUESTS_EACH_MAX).map(|_| one.ask(None, start).unwrap()).collect();
    assert!(one.ask(None, start).is_none());
    // A thousand actors that share a connection have two each.
    let pushing: Vec<_> = (0..1000).map(|_| one.pushing()).collect();
    calls.extend((0..2000).map(|_| one.ask(None, start).unwrap()));
    assert!(one.ask(None, start).is_none());
    drop(pushing);
    let (mut others, mut open) = (Vec::new(), calls.len());
    while open < REQUESTS_MAX {
        let (other, _) = peers.connect(start);
        while let Some(call) = other.ask(None, start) {
            calls.push(call);
            open += 1;
        }
        others.push(other);
    }
    let (late, _) = peers.connect(start);
    assert!(late.ask(None, start).is_none());
    calls.clear();
    assert!(late.ask(None, start).is_some());
}

#[test]
fn whoever_does_not_come_to_the_point_is_closed() {
    let start = Instant::now();
    let peers = peers(10_000, start);
    let (silent, _) = peers.connect(start);
    let (idle, _) = peers.connect(start);
    let (actor, _) = peers.connect(start);
    let (slow, _) = peers.connect(start);
    drop(idle.ask(None, start));
    let _streams = actor.ask(None, start);
    let _call = slow.ask(Some(Duration::from_secs(60)), start);
    let closed = |seconds| {
        peers.sweep(after(start, seconds));
        [&silent, &idle, &actor, &slow].map(|peer| peer.is_closed())
    };
    assert_eq!(closed(9.9), [false, false, false, false]);
    assert_eq!(closed(10.0), [true, false, false, false]);
    // Real time went by until its call was dropped.
    assert_eq!(closed(59.9), [true, false, false, false]);
    assert_eq!(closed(75.0), [true, true, false, true]);
    assert_eq!(closed(1e6), [true, true, false, true]);
}

#[test]
fn idle_connections_make_room_for_new_ones_and_actors_do_not() {
    let start = Instant::now();
    let peers = peers(HANDLES_KEPT * 2 + 4, start);
    assert_eq!(peers.connections_max(), HANDLES_KEPT + 4);
    let (actor, _) = peers.connect(start);
    let _pushing = actor.pushing();
    let (asking, _) = peers.connect(start);
    let _call = asking.ask(None, start);
    let idle: Vec<_> = (0..HANDLES_KEPT + 2).map(|n| peers.connect(after(start, n as f64)).0).collect();
    assert!(idle.iter().all(|peer| !peer.is_closed()));
    let newest: Vec<_> = (0..3).map(|_| peers.connect(after(start, 1000.0)).0).collect();
    let closed: Vec<_> = idle.iter().map(|peer| peer.is_closed()).collect();
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 3);
    assert!(closed[0] && closed[1] && closed[2], "the oldest");
    assert!(newest.iter().chain([&actor, &asking]).all(|peer| !peer.is_closed()));
    drop(idle);
    assert_eq!(peers.lock().peers.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn large_messages_take_turns_and_a_reader_that_does_not_read_is_closed() {
    let now = now();
    let size = 16 << 20;
    let peers = Peers::new(Sizes { window: WINDOW, weights: size }, 10_000, now);
    let (reader, _) = peers.connect(now);
    assert!(reader.turn(turns::SMALL_MAX - 1).await.is_none());
    // 64 MiB at a time.
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(reader.turn(size).await.unwrap());
    }
    let (next, _) = peers.connect(now);
    let waiting = tokio::spawn({
        let next = next.clone();
        async move { next.turn(size).await.is_some() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    turns.pop();
    assert!(waiting.await.unwrap());
    turns.truncate(1);
    assert!(!reader.is_closed());
    reader.closed().cancelled().await;
    assert_eq!(self::now().duration_since(now), Duration::from_secs(10 + 16));
    assert!(!next.is_closed());
}
