//! 3x3 convolutions.

/// Zero padding in pixels on each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows of zeros above the image.
    pub top: usize,
    /// Columns of zeros to its left.
    pub left: usize,
    /// Rows of zeros below it.
    pub bottom: usize,
    /// Columns of zeros to its right.
    pub right: usize,
}

impl Padding {
    /// One pixel all around: a 3x3 convolution with stride 1 keeps the sides.
    pub const fn same() -> Self {
        Self {
            top: 1,
            left: 1,
            bottom: 1,
            right: 1,
        }
    }

    /// None: a 3x3 convolution with stride 1 takes two off the sides.
    pub const fn valid() -> Self {
        Self {
            top: 0,
            left: 0,
            bottom: 0,
            right: 0,
        }
    }
}

/// A 3x3 convolution: its sizes and what is fused with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Rows of the input image, before any upsampling.
    pub height: usize,
    /// Columns of the input image, before any upsampling.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Zeros around the (upsampled) image.
    pub padding: Padding,
    /// Doubles the image by nearest neighbour before convolving; then `stride` must be 1.
    pub upsample: bool,
    /// ReLU after the bias.
    pub relu: bool,
}

impl Convolution {
    fn scale(&self) -> usize {
        1 + usize::from(self.upsample)
    }
    /// Rows of the output.
    pub fn output_height(&self) -> usize {
        let padded = self.height * self.scale() + self.padding.top + self.padding.bottom;
        (padded - 3) / self.stride + 1
    }

    /// Columns of the output.
    pub fn output_width(&self) -> usize {
        let padded = self.width * self.scale() + self.padding.left + self.padding.right;
        (padded - 3) / self.stride + 1
    }

    /// Floats in the input of `batch` images.
    pub fn input_len(&self, batch: usize) -> usize {
        batch * self.height * self.width * self.in_channels
    }

    /// Floats in the output of `batch` images.
    pub fn output_len(&self, batch: usize) -> usize {
        batch * self.output_height() * self.output_width() * self.out_channels
    }

    /// Floats in the weight.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * 9
    }

    /// Floating-point operations of the plain definition per image, a multiply-add counting as two.
    pub fn flops(&self) -> u64 {
        2 * (self.output_len(1) * self.in_channels * 9) as u64
    }

    fn source(&self, oy: usize, ox: usize, ky: usize, kx: usize) -> Option<usize> {
        let y = (oy * self.stride + ky).checked_sub(self.padding.top)? / self.scale();
        let x = (ox * self.stride + kx).checked_sub(self.padding.left)? / self.scale();
        (y < self.height && x < self.width).then(|| (y * self.width + x) * self.in_channels)
    }
}

/// y = convolution of x (bias, ReLU fused).
pub fn conv_forward(
    c: &Convolution,
    batch: usize,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    use rayon::prelude::*;
    assert_eq!(x.len(), c.input_len(batch), "convolution: length of x");
    assert_eq!(y.len(), c.output_len(batch), "convolution: length of y");
    assert_eq!(
        weight.len(),
        c.weight_len(),
        "convolution: length of the weight"
    );
    let (ic, oc) = (c.in_channels, c.out_channels);
    let mut packed = vec![0.0; weight.len()];
    for o in 0..oc {
        for i in 0..ic {
            for k in 0..9 {
                packed[(k * ic + i) * oc + o] = weight[(o * ic + i) * 9 + k];
            }
        }
    }
    y.par_chunks_mut(c.output_len(1))
        .zip(x.par_chunks(c.input_len(1)))
        .for_each(|(y, x)| {
            for (pixel, y) in y.chunks_exact_mut(oc).enumerate() {
                match bias {
                    Some(bias) => y.copy_from_slice(bias),
                    None => y.fill(0.0),
                }
                for k in 0..9 {
                    let Some(at) = c.source(
                        pixel / c.output_width(),
                        pixel % c.output_width(),
                        k / 3,
                        k % 3,
                    ) else {
                        continue;
                    };
                    for i in 0..ic {
                        let w = &packed[(k * ic + i) * oc..][..oc];
                        for (y, w) in y.iter_mut().zip(w) {
                            *y += x[at + i] * w;
                        }
                    }
                }
                if c.relu {
                    y.iter_mut().for_each(|y| *y = y.max(0.0));
                }
            }
        });
}

/// Gradients.
pub fn conv_backward(
    c: &Convolution,
    batch: usize,
    x: &[f32],
    weight: &[f32],
    y: &[f32],
    dy: &[f32],
    dx: Option<&mut [f32]>,
    dweight: &mut [f32],
    dbias: Option<&mut [f32]>,
) {
    use rayon::prelude::*;
    let (ic, oc) = (c.in_channels, c.out_channels);
    let slope = |i: usize| if !c.relu || y[i] > 0.0 { dy[i] } else { 0.0 };
    if let Some(dbias) = dbias {
        dbias.fill(0.0);
        for i in 0..dy.len() {
            dbias[i % oc] += slope(i);
        }
    }
    let pixels = c.output_height() * c.output_width();
    if let Some(dx) = dx {
        dx.par_chunks_mut(c.input_len(1))
            .enumerate()
            .for_each(|(image, dx)| {
                dx.fill(0.0);
                for pixel in 0..pixels {
                    for k in 0..9 {
                        let Some(at) = c.source(
                            pixel / c.output_width(),
                            pixel % c.output_width(),
                            k / 3,
                            k % 3,
                        ) else {
                            continue;
                        };
                        for o in 0..oc {
                            let slope = slope((image * pixels + pixel) * oc + o);
                            for i in 0..ic {
                                dx[at + i] += slope * weight[(o * ic + i) * 9 + k];
                            }
                        }
                    }
                }
            });
    }
    let mut sums = vec![0.0; dweight.len()];
    sums.par_chunks_mut(ic * oc)
        .enumerate()
        .for_each(|(k, sums)| {
            for image in 0..batch {
                for pixel in 0..pixels {
                    let Some(at) = c.source(
                        pixel / c.output_width(),
                        pixel % c.output_width(),
                        k / 3,
                        k % 3,
                    ) else {
                        continue;
                    };
                    for o in 0..oc {
                        let slope = slope((image * pixels + pixel) * oc + o);
                        let x = &x[image * c.input_len(1) + at..][..ic];
                        for (sum, x) in sums[o * ic..][..ic].iter_mut().zip(x) {
                            *sum += slope * x;
                        }
                    }
                }
            }
        });
    for o in 0..oc {
        for i in 0..ic {
            for k in 0..9 {
                dweight[(o * ic + i) * 9 + k] = sums[k * ic * oc + o * ic + i];
            }
        }
    }
}
