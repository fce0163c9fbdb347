//! Flat arrays of one of two kinds of numbers: observations are f32 or bytes, actions bytes (choices) or f32 (a box's points).
//! Which of the two it is, the environment's spec says once; asking an array for the other kind is a mistake of the program.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// What numbers an array is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Bytes.
    U8,
}

/// Numbers that are owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Single precision.
    F32(Vec<f32>),
    /// Bytes.
    U8(Vec<u8>),
}

/// Numbers that are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ArrayRef<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Bytes.
    U8(&'a [u8]),
}

/// Numbers that are written.
#[derive(Debug, PartialEq)]
pub enum ArrayMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Bytes.
    U8(&'a mut [u8]),
}

impl Dtype {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::U8 => 1,
        }
    }

    /// The name that numpy and the wire have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::U8 => "u8",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for Array {
    fn default() -> Self {
        Self::F32(Vec::new())
    }
}

impl Array {
    /// So many zeros.
    pub fn zeros(dtype: Dtype, len: usize) -> Self {
        match dtype {
            Dtype::F32 => Self::F32(vec![0.0; len]),
            Dtype::U8 => Self::U8(vec![0; len]),
        }
    }

    /// What its numbers are.
    pub fn dtype(&self) -> Dtype {
        self.view().dtype()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, to read.
    pub fn view(&self) -> ArrayRef<'_> {
        match self {
            Self::F32(numbers) => ArrayRef::F32(numbers),
            Self::U8(numbers) => ArrayRef::U8(numbers),
        }
    }

    /// All of them, to write.
    pub fn view_mut(&mut self) -> ArrayMut<'_> {
        match self {
            Self::F32(numbers) => ArrayMut::F32(numbers),
            Self::U8(numbers) => ArrayMut::U8(numbers),
        }
    }

    /// Forgets them and keeps the memory.
    pub fn clear(&mut self) {
        match self {
            Self::F32(numbers) => numbers.clear(),
            Self::U8(numbers) => numbers.clear(),
        }
    }

    /// Appends numbers of the same kind.
    ///
    /// # Panics
    /// They are of the other kind.
    pub fn extend(&mut self, more: ArrayRef<'_>) {
        match self {
            Self::F32(numbers) => numbers.extend_from_slice(more.f32()),
            Self::U8(numbers) => numbers.extend_from_slice(more.u8()),
        }
    }
}

impl From<Vec<f32>> for Array {
    fn from(numbers: Vec<f32>) -> Self {
        Self::F32(numbers)
    }
}

impl From<Vec<u8>> for Array {
    fn from(numbers: Vec<u8>) -> Self {
        Self::U8(numbers)
    }
}

impl FromIterator<f32> for Array {
    fn from_iter<I: IntoIterator<Item = f32>>(numbers: I) -> Self {
        Self::F32(numbers.into_iter().collect())
    }
}

impl FromIterator<u8> for Array {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        Self::U8(bytes.into_iter().collect())
    }
}

impl<'a> ArrayRef<'a> {
    /// What its numbers are.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U8(_) => Dtype::U8,
        }
    }

    /// How many there are.
    pub fn len(self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::U8(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Some neighbours among them.
    ///
    /// # Panics
    /// There are not as many.
    pub fn range(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(numbers) => Self::F32(&numbers[range]),
            Self::U8(numbers) => Self::U8(&numbers[range]),
        }
    }

    /// The numbers in single precision.
    ///
    /// # Panics
    /// They are bytes.
    pub fn f32(self) -> &'a [f32] {
        match self {
            Self::F32(numbers) => numbers,
            Self::U8(_) => panic!("asked for f32 where the spec says u8"),
        }
    }

    /// The bytes.
    ///
    /// # Panics
    /// They are in single precision.
    pub fn u8(self) -> &'a [u8] {
        match self {
            Self::U8(numbers) => numbers,
            Self::F32(_) => panic!("asked for u8 where the spec says f32"),
        }
    }
}

impl<'a> ArrayMut<'a> {
    /// What its numbers are.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::U8(_) => Dtype::U8,
        }
    }

    /// The same for a while, to hand on.
    pub fn reborrow(&mut self) -> ArrayMut<'_> {
        match self {
            Self::F32(numbers) => ArrayMut::F32(numbers),
            Self::U8(numbers) => ArrayMut::U8(numbers),
        }
    }

    /// The same, to read.
    pub fn view(&self) -> ArrayRef<'_> {
        match self {
            Self::F32(numbers) => ArrayRef::F32(numbers),
            Self::U8(numbers) => ArrayRef::U8(numbers),
        }
    }

    /// Some neighbours among them.
    ///
    /// # Panics
    /// There are not as many.
    pub fn range(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(numbers) => Self::F32(&mut numbers[range]),
            Self::U8(numbers) => Self::U8(&mut numbers[range]),
        }
    }

    /// Overwrites all of them.
    ///
    /// # Panics
    /// There are more or fewer, or of the other kind.
    pub fn copy_from(&mut self, other: ArrayRef<'_>) {
        match self {
            Self::F32(numbers) => numbers.copy_from_slice(other.f32()),
            Self::U8(numbers) => numbers.copy_from_slice(other.u8()),
        }
    }

    /// The numbers in single precision.
    ///
    /// # Panics
    /// They are bytes.
    pub fn f32(self) -> &'a mut [f32] {
        match self {
            Self::F32(numbers) => numbers,
            Self::U8(_) => panic!("asked for f32 where the spec says u8"),
        }
    }

    /// The bytes.
    ///
    /// # Panics
    /// They are in single precision.
    pub fn u8(self) -> &'a mut [u8] {
        match self {
            Self::U8(numbers) => numbers,
            Self::F32(_) => panic!("asked for u8 where the spec says f32"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_cut_copied_and_appended_alike() {
        for (mut array, numbers) in [
            (Array::zeros(Dtype::F32, 3), Array::F32(vec![1.0, 2.0])),
            (Array::zeros(Dtype::U8, 3), Array::U8(vec![1, 2])),
        ] {
            assert_eq!((array.len(), array.dtype()), (3, numbers.dtype()));
            array.view_mut().range(1..3).copy_from(numbers.view());
            assert_eq!(array.view().range(1..3), numbers.view());
            array.extend(numbers.view().range(1..2));
            assert_eq!(array.view().range(3..4), numbers.view().range(1..2));
            array.clear();
            assert!(array.is_empty());
        }
        assert_eq!((Dtype::F32.size(), Dtype::U8.size()), (4, 1));
    }

    #[test]
    #[should_panic(expected = "asked for u8 where the spec says f32")]
    fn the_other_kind_is_a_mistake_of_the_program() {
        Array::zeros(Dtype::F32, 1).view().u8();
    }
}
