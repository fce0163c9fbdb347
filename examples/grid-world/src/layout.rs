//! Two rooms with a wall between them, drawn anew for each episode: where the wall and its door are, the key and the goal.

use impala_env::seed::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Rows of the grid.
pub(crate) const HEIGHT: usize = 5;
/// Columns of the grid.
pub(crate) const WIDTH: usize = 7;
/// Columns that a room has at least.
const ROOM_WIDTH_MIN: usize = 2;

/// A cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// What does not change within an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// The one cell of the wall that can be opened; its column is the wall's.
    pub(crate) door: Place,
    /// In the left room.
    pub(crate) key: Place,
    /// In the right room.
    pub(crate) goal: Place,
}

impl Place {
    /// The cell in this direction, rows and columns, if it is on the grid.
    pub(crate) fn moved(self, (rows, columns): (isize, isize)) -> Option<Self> {
        let (row, column) = (self.row.checked_add_signed(rows)?, self.column.checked_add_signed(columns)?);
        (row < HEIGHT && column < WIDTH).then_some(Self { row, column })
    }

    fn drawn(rng: &mut Rng, columns: std::ops::Range<usize>) -> Self {
        Self { row: rng.random_range(0..HEIGHT), column: rng.random_range(columns) }
    }
}

impl Layout {
    /// One of those that there are, and a place to begin at: in the left room, beside the key.
    pub(crate) fn drawn(rng: &mut Rng) -> (Self, Place) {
        let door = Place::drawn(rng, ROOM_WIDTH_MIN..WIDTH - ROOM_WIDTH_MIN);
        let (key, goal) = (Place::drawn(rng, 0..door.column), Place::drawn(rng, door.column + 1..WIDTH));
        let mut start = key;
        while start == key {
            start = Place::drawn(rng, 0..door.column);
        }
        (Self { door, key, goal }, start)
    }

    /// Whether nobody can ever stand there.
    pub(crate) fn is_wall(&self, place: Place) -> bool {
        place.column == self.door.column && place != self.door
    }

    /// Whether [`Self::drawn`] can give it.
    pub(crate) fn is_possible(&self) -> bool {
        let Self { door, key, goal } = self;
        let is_on_grid = [door, key, goal].iter().all(|place| place.row < HEIGHT && place.column < WIDTH);
        let rooms = ROOM_WIDTH_MIN..WIDTH - ROOM_WIDTH_MIN;
        is_on_grid && rooms.contains(&door.column) && key.column < door.column && goal.column > door.column
    }
}
