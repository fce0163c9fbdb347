//! What an environment has drawn.

use impala_env::scene::{Png, Scene, Shape};

/// A picture of one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`: red, green and blue.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// It alone on a plane of its size; nothing if it has no pixels.
    pub fn scene(&self) -> Option<Scene> {
        let (width, height) = (u32::try_from(self.width).ok()?, u32::try_from(self.height).ok()?);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.write_header().ok()?.write_image_data(&self.rgb).ok()?;
        let size = [self.width as f32, self.height as f32];
        let mut scene = Scene::new(size[0], size[1]);
        scene.add(Shape::Picture { corner: [0.0; 2], size, png: Png::new(file) });
        Some(scene)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_a_file_that_gives_its_pixels_back() {
        let rgb: Vec<u8> = (0..2 * 3 * 3).collect();
        let scene = Picture { width: 3, height: 2, rgb: rgb.clone() }.scene().unwrap();
        assert_eq!(scene.size(), [3.0, 2.0]);
        let [Shape::Picture { png, .. }] = scene.shapes() else { panic!("{scene:?}") };
        let mut reader = png::Decoder::new(std::io::Cursor::new(png.bytes())).read_info().unwrap();
        let mut pixels = vec![0; rgb.len()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, rgb);
        assert!(Picture { width: 0, height: 2, rgb: vec![] }.scene().is_none());
    }
}
