//! Measurements: criterion benches of single paths in `benches/`, programs that measure whole runs in `src/bin/`.
