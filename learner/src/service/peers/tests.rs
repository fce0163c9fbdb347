use super::*;
use std::time::Duration;

const WINDOW: usize = 100_000;

fn peers(handles: usize, now: Instant) -> Arc<Peers> {
    Peers::new(Sizes { window: WINDOW, weights: 1 << 20 }, handles, now)
}

/// A connection by which so many actors work.
fn at_work(peers: &Arc<Peers>, actors: usize, now: Instant) -> (Arc<Peer>, Vec<Pushing>) {
    let (peer, _) = peers.connect(now);
    let pushing = (0..actors).map(|_| peer.pushing()).collect();
    peer.pushed(1.0, now);
    (peer, pushing)
}

fn after(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

#[test]
fn an_actor_is_never_slowed_for_what_it_is_here_for() {
    let start = Instant::now();
    let peers = peers(10_000, start);
    let (actor, _) = peers.connect(start);
    let _registering = actor.ask(Lasts::LikeItsSession, start).unwrap();
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
    let mut calls: Vec<_> = (0..REQUESTS_EACH_MAX).map(|_| one.ask(Lasts::LikeItsSession, start).unwrap()).collect();
    assert!(one.ask(Lasts::LikeItsSession, start).is_none());
    // A thousand actors that share a connection have two each.
    let pushing: Vec<_> = (0..1000).map(|_| one.pushing()).collect();
    calls.extend((0..2000).map(|_| one.ask(Lasts::LikeItsSession, start).unwrap()));
    assert!(one.ask(Lasts::LikeItsSession, start).is_none());
    drop(pushing);
    let (mut others, mut open) = (Vec::new(), calls.len());
    while open < REQUESTS_MAX {
        let (other, _) = peers.connect(start);
        while let Some(call) = other.ask(Lasts::LikeItsSession, start) {
            calls.push(call);
            open += 1;
        }
        others.push(other);
    }
    let (late, _) = peers.connect(start);
    assert!(late.ask(Lasts::LikeItsSession, start).is_none());
    // Streams by which nothing has come hold no place for good; the last of the others has asked in vain too.
    assert_eq!(others.iter().chain([&one]).filter(|peer| peer.is_closed()).count(), 2);
    calls.clear();
    assert!(late.ask(Lasts::LikeItsSession, start).is_some());
}

#[test]
fn where_too_many_requests_are_open_the_longest_go_and_those_of_actors_last() {
    let start = Instant::now();
    let peers = peers(10_000, start);
    let mut calls = Vec::new();
    let mut asks = |seconds: f64, count: usize, lasts: Lasts| {
        let (peer, _) = peers.connect(start);
        calls.extend((0..count).map(|_| peer.ask(lasts, after(start, seconds)).unwrap()));
        peer
    };
    // An actor that somebody else shares a connection with.
    let actor = asks(0.0, 2, Lasts::LikeItsSession);
    let _pushing = actor.pushing();
    actor.pushed(1.0, start);
    let _watching = actor.ask(Lasts::AsItsCallerWants, start).unwrap();
    let strangers: Vec<_> = (0..31).map(|n| asks(2.0 - f64::from(n) / 100.0, 512, Lasts::AsItsCallerWants)).collect();
    let _models = asks(3.0, REQUESTS_MAX - 31 * 512 - 3, Lasts::AtMost(Duration::from_secs(600)));
    let (late, _) = peers.connect(start);
    let closed = || strangers.iter().map(|peer| peer.is_closed()).collect::<Vec<_>>();
    for count in 1..=2 {
        assert!(late.ask(Lasts::AtMost(Duration::from_secs(1)), after(start, 3.0)).is_none());
        assert_eq!(closed().iter().rev().take_while(|is_closed| **is_closed).count(), count);
    }
    assert_eq!(closed().iter().filter(|is_closed| **is_closed).count(), 2);
    assert!(!actor.is_closed() && !late.is_closed());
}

#[test]
fn connections_come_and_go_from_all_sides_where_there_are_too_many() {
    const CONNECTIONS: usize = 16;
    let start = Instant::now();
    let peers = peers(CONNECTIONS * 2, start);
    assert_eq!(peers.connections_max(), CONNECTIONS);
    let (done, finished) = std::sync::mpsc::channel();
    for _ in 0..4 {
        let (peers, done) = (peers.clone(), done.clone());
        let thread = std::thread::Builder::new().name("peers".into());
        let coming_and_going = move || {
            let mut own = std::collections::VecDeque::new();
            for _ in 0..20_000 {
                own.push_back(peers.connect(start).0);
                own.retain(|peer| !peer.is_closed());
                peers.sweep(start);
                if own.len() > CONNECTIONS / 4 {
                    own.pop_front();
                }
            }
            done.send(own.len()).unwrap();
        };
        thread.spawn(coming_and_going).unwrap();
    }
    for _ in 0..4 {
        finished.recv_timeout(Duration::from_secs(60)).expect("nobody waits for itself");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_come_to_the_point_is_closed() {
    let start = now();
    let peers = peers(10_000, start);
    let (silent, _) = peers.connect(start);
    let (idle, _) = peers.connect(start);
    let (actor, _) = peers.connect(start);
    let (slow, _) = peers.connect(start);
    drop(idle.ask(Lasts::LikeItsSession, start));
    let _streams = actor.ask(Lasts::LikeItsSession, start);
    let (slow_beside_actors, _pushing) = at_work(&peers, 1, start);
    let _calls = [&slow, &slow_beside_actors].map(|peer| peer.ask(Lasts::AtMost(Duration::from_secs(60)), start));
    let closed = |seconds| {
        peers.sweep(after(start, seconds));
        [&silent, &idle, &actor, &slow, &slow_beside_actors].map(|peer| peer.is_closed())
    };
    assert_eq!(closed(9.9), [false, false, false, false, false]);
    assert_eq!(closed(10.0), [true, false, false, false, false]);
    assert_eq!(closed(59.9), [true, false, false, false, false]);
    assert_eq!(closed(60.0), [true, true, false, true, false]);
    assert_eq!(closed(600.0), [true, true, false, true, false]);
    // Nothing came of that work for ten minutes.
    assert_eq!(closed(600.1), [true, true, false, true, true]);
    assert_eq!(closed(1e6), [true, true, false, true, true]);
}

#[test]
fn idle_connections_make_room_for_new_ones_and_actors_do_not() {
    let start = Instant::now();
    let peers = peers(HANDLES_KEPT * 2 + 4, start);
    assert_eq!(peers.connections_max(), HANDLES_KEPT + 4);
    let (actor, _pushing) = at_work(&peers, 1, start);
    // Streams without a trajectory are worth nothing.
    let (silent, _) = peers.connect(start);
    let _streams =
        (silent.pushing(), silent.ask(Lasts::LikeItsSession, start), silent.ask(Lasts::LikeItsSession, start));
    let idle: Vec<_> = (1..HANDLES_KEPT + 3).map(|n| peers.connect(after(start, n as f64)).0).collect();
    assert!(idle.iter().chain([&silent]).all(|peer| !peer.is_closed()));
    actor.pushed(1.0, after(start, 999.0));
    let newest: Vec<_> = (0..3).map(|_| peers.connect(after(start, 1000.0)).0).collect();
    let closed: Vec<_> = idle.iter().map(|peer| peer.is_closed()).collect();
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 2);
    assert!(closed[0] && closed[1] && silent.is_closed(), "the oldest");
    assert!(newest.iter().chain([&actor]).all(|peer| !peer.is_closed()));
    drop(idle);
    assert_eq!(peers.lock().peers.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn large_messages_take_turns_and_a_reader_that_does_not_read_is_closed() {
    let now = now();
    let size = 16 << 20;
    let peers = Peers::new(Sizes { window: WINDOW, weights: size }, 10_000, now);
    let (reader, _pushing) = at_work(&peers, 1, now);
    assert!(reader.turn(turns::SMALL_MAX - 1).await.is_none());
    // 64 MiB at a time.
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(reader.turn(size).await.unwrap());
    }
    let (next, _also_pushing) = at_work(&peers, 1, now);
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

#[tokio::test(start_paused = true)]
async fn actors_do_not_wait_for_the_turns_of_those_who_push_nothing() {
    let size = 40 << 20;
    let peers = Peers::new(Sizes { window: WINDOW, weights: size }, 10_000, now());
    let (stranger, _) = peers.connect(now());
    // It has a stream, and nothing came by it.
    let _stream = stranger.pushing();
    let _turns = [stranger.turn(size).await, stranger.turn(size).await];
    let (actor, _pushing) = at_work(&peers, 1, now());
    let a_moment = Duration::from_secs(1);
    assert!(tokio::time::timeout(a_moment, stranger.turn(size)).await.is_err(), "two at a time");
    assert!(tokio::time::timeout(a_moment, actor.turn(size)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_stands_still_does_not_take_those_with_it_who_share_its_connection() {
    let size = 40 << 20;
    let peers = Peers::new(Sizes { window: WINDOW, weights: size }, 10_000, now());
    let (shared, _pushing) = at_work(&peers, 100, now());
    let mut unread = Vec::new();
    for _ in 0..4 {
        unread.push(shared.turn(size).await);
    }
    let hour = Duration::from_secs(3600);
    // Two of them are stuck, the turns are others'; with more it would be too much.
    unread.truncate(2);
    tokio::time::sleep(hour).await;
    assert!(!shared.is_closed());
    shared.pushed(1.0, now());
    let _others = [shared.turn(size).await, shared.turn(size).await, shared.turn(size).await];
    assert!(tokio::time::timeout(Duration::from_secs(1), shared.turn(size)).await.is_ok());
    tokio::time::timeout(hour, shared.closed().cancelled()).await.expect("three others are not read");
}
