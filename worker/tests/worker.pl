#!/usr/bin/env perl
# A worker in Perl, written from docs/worker-protocol.md: walks from a place to the right. An observation is place and step, the actions are
# left, stay and right; who stands at 0 may not go left. A step to the right is worth 1; place 8 ends an episode, the tenth step cuts it.
# The argument `fault` of the environment makes it misbehave in its third step, for tests.
use strict;
use warnings;

my %KIND = (start => 1, observe => 2, step => 3, render => 4,
    hello => 129, described => 130, observed => 131, stepped => 132, rendered => 133, failed => 134);

sub answer {
    my ($kind, $payload) = @_;
    my $frame = pack('V C x3', length $payload, $KIND{$kind}) . $payload;
    while (length $frame) { substr($frame, 0, syswrite(STDOUT, $frame) // exit, '') }
}

sub exactly {
    my ($length, $bytes) = (shift, '');
    while (length $bytes < $length) { sysread(STDIN, $bytes, $length - length $bytes, length $bytes) or exit }
    return $bytes;
}

sub request {
    my ($length, $kind) = unpack 'V C', exactly(8);
    return ($kind, exactly($length));
}

my (@seeds, @places, @steps);
sub begin { my $i = shift; $places[$i] = $seeds[$i] % 3; $steps[$i] = 0 }
sub shown { my $i = shift; return pack 'f<2', $places[$i], $steps[$i] }
sub shown_by_all {
    my $masks = join '', map { pack 'C3', $_ > 0 ? 1 : 0, 1, 1 } @places;
    return join('', map { shown($_) } 0 .. $#seeds) . $masks;
}

binmode $_ for *STDIN, *STDOUT;
my ($fault, $count) = ('', 0);
if (@ARGV) { syswrite STDOUT, 'Hello! My name is no worker.'; exit }
answer('hello', 'IMPW' . pack('V', 1));
my ($kind, $start) = request();
$fault = $1 if $start =~ /"fault":"(\w+)"/;
@seeds = split /,/, $1 if $start =~ /"seeds":\[([\d,]+)\]/;
if ($start =~ /"environment":"(?!Walk-v0)(.*?)"/) {
    answer('failed', qq({"kind": "unknown_environment", "message": "no environment `$1`: the nearest is Walk-v0"}));
    exit 1;
}
sleep 60 if $fault eq 'sleeps';
begin($_) for 0 .. $#seeds;
my $goal = $fault eq 'differs' ? $seeds[0] : 6;
answer('described', '{"observations": {"dtype": "f32", "shape": [2]}, "actions": {"discrete": 3}, "masked": true, '
    . qq("autoreset": "same_step", "solved_return": $goal, "steps_max": 10, "steps_per_second": null}));

while (1) {
    ($kind, my $payload) = request();
    if ($kind == $KIND{observe}) { answer('observed', shown_by_all()); next }
    if ($kind == $KIND{render}) { answer('rendered', pack('V2', 1, 2) . "\xff\0\0\0\0" . chr unpack 'V', $payload); next }
    my ($rewards, $outcomes, $finals, $i) = ('', '', '', 0);
    for my $action (unpack 'C*', $payload) {
        $places[$i] += $action - 1;
        $steps[$i]++;
        my $outcome = $places[$i] >= 8 ? 1 : $steps[$i] >= 10 ? 2 : 0;
        $finals .= shown($i) if $outcome == 2;
        begin($i) if $outcome;
        $rewards .= pack 'f<', $action - 1;
        $outcomes .= pack 'C', $outcome;
        $i++;
    }
    my $answer = shown_by_all() . $rewards . $outcomes . $finals;
    if (++$count == 3 && $fault) {
        if ($fault eq 'dies') { print STDERR "no more\n"; exit 3 }
        sleep 60 if $fault eq 'hangs';
        syswrite STDOUT, 'garbage, and more of it' if $fault eq 'garbage';
        answer('failed', '{"kind": "raised", "message": "ValueError: 7", "traceback": "line 1\nline 2"}'), exit if $fault eq 'raises';
        substr $answer, 4, 4, pack('f<', 'nan') if $fault eq 'nan';
        $answer = substr $answer, 0, -1 if $fault eq 'short';
        $answer .= "\0" x 8 if $fault eq 'long';
        $kind = $KIND{observe} if $fault eq 'other';
        answer('stepped', $answer) if $fault eq 'twice';
    }
    answer($kind == $KIND{observe} ? 'observed' : 'stepped', $answer);
}
