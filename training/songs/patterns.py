"""What bands play: chord progressions and grooves, as rows of sixteenths. Data alone."""

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN = (0, 2, 4, 5, 7, 9, 10)
MODES = (MAJOR, MAJOR, MINOR, MINOR, DORIAN, MIXOLYDIAN)

# Degrees of the scale that chords stand on, one chord each bar.
PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (5, 3, 0, 4),
    (0, 3, 4, 3),
    (0, 3, 0, 4),
    (1, 4, 0, 0),
    (1, 4, 0, 5),
    (0, 6, 5, 4),
    (0, 0, 3, 3),
    (0, 2, 3, 4),
    (3, 4, 2, 5),
    (0, 0, 0, 0, 3, 3, 0, 0, 4, 3, 0, 4),
    (0, 5, 1, 4),
    (0, 6, 3, 0),
    (5, 4, 3, 4),
    (0, 2, 5, 3),
)

# What each drum plays in a bar: "x" a stroke, "X" an accent, "o" a soft one, "." nothing.
GROOVES = (
    {"kick": "X.......X.......", "snare": "....X.......X...", "closed_hat": "x.x.x.x.x.x.x.x."},
    {"kick": "X.....x.X.......", "snare": "....X.......X...", "closed_hat": "X.x.X.x.X.x.X.x."},
    {"kick": "X..x..x...x.....", "snare": "....X..o.o..X..o", "closed_hat": "xxxxxxxxxxxxxxxx"},
    {"kick": "X...X...X...X...", "clap": "....X.......X...", "open_hat": "..x...x...x...x."},
    {
        "kick": "X...X...X...X...",
        "snare": "....X.......X...",
        "closed_hat": "xoxoxoxoxoxoxoxo",
        "open_hat": "..x...x...x...x.",
    },
    {
        "kick": "X.......X.x.....",
        "snare": "....X.......X...",
        "ride": "x.x.x.x.x.x.x.x.",
        "pedal_hat": "....x.......x...",
    },
    {"kick": "X..X......X.....", "snare": "....X.......X...", "closed_hat": "x.x.x.xxx.x.x.x."},
    {"kick": "X.........X..X..", "snare": "........X.......", "closed_hat": "x.xxx.x.x.xxx.xx"},
    {"kick": "X.x.......x.....", "snare": "....X.......X.o.", "closed_hat": "x.x.x.x.x.x.xxx."},
    {"kick": "X..x..X.x..x..X.", "rim": "..x..x....x..x..", "shaker": "xoxoxoxoxoxoxoxo"},
    {"kick": "........X.......", "rim": "........X.......", "closed_hat": "x..xx..xx..xx..x"},
    {"kick": "X.........x.....", "snare": "....X..o.o..X...", "ride": "x.x.x.x.x.x.x.x."},
    {"kick": "X.X.....X.X.....", "snare": "....X.......X...", "crash": "X...x...x...x..."},
    {"kick": "X.......X.......", "snare": "....X.......X...", "tambourine": "x.x.X.x.x.x.X.x."},
    {
        "kick": "X.....X...X.....",
        "snare": "....X.......X...",
        "cowbell": "x...x...x...x...",
        "closed_hat": "..x...x...x...x.",
    },
    {"kick": "X...............", "snare": "........X.......", "closed_hat": "x...x...x...x..."},
    {
        "kick": "X..X..X...X..X..",
        "low_tom": "..x...x...x...x.",
        "mid_tom": "....x.......x...",
        "shaker": "x.x.x.x.x.x.x.x.",
    },
    {"kick": "X.xX.xX.X.xX.xX.", "snare": "....X.......X...", "closed_hat": "X.x.X.x.X.x.X.x."},
)
FILLS = (
    {"snare": "........x.x.xxxX"},
    {"high_tom": "........xx......", "mid_tom": "..........xx....", "low_tom": "............xxxX"},
    {"snare": "X..x..x.X.xxXxXX"},
    {"snare": "............xxxX", "kick": "X.......X......."},
    {"low_tom": "x.x.x.x.........", "high_tom": "........x.x.x.xX"},
    {"clap": "........x...x.xx"},
)

# Rhythms of basses and of chords: "x" begins a note, "-" holds it, "." is a rest.
BASS_RHYTHMS = (
    "x-x-x-x-x-x-x-x-",
    "x---------------",
    "x-------x-------",
    "x-----x-x-------",
    "x--x--x-x--x--x-",
    "..x-..x-..x-..x-",
    "x...x...x...x...",
    "x--.x-..x--.x-x-",
    "x-----x---x-----",
    "xxx.xx.xxxx.xx.x",
    "x---x---x---x---",
    "x--x....x--x..x-",
)
CHORD_RHYTHMS = (
    "x---------------",
    "x-------x-------",
    "x---x---x---x---",
    "..x...x...x...x.",
    "x--x--x---x-x---",
    "x-x-x-x-x-x-x-x-",
    "....x.......x...",
    "x..x..x...x.....",
    "x-.x-.x-x-.x-.x-",
    "..xx..x...xx..x.",
)
ARPEGGIO_RHYTHMS = (
    "x-x-x-x-x-x-x-x-",
    "xxxxxxxxxxxxxxxx",
    "x--x--x-x--x--x-",
    "x---x---x---x---",
    "x-x-x-..x-x-x-..",
)
MELODY_RHYTHMS = (
    "x---x---x-------",
    "..x-x-x-x---x---",
    "x-x-x---x-x-x---",
    "x-----x-x-------",
    "....x-x-x-x-x---",
    "x--x--x---x-x---",
    "x---------------",
    "x-xxx-x-x-----..",
    "..x---x-x-x-----",
    "x-------x---x---",
)
