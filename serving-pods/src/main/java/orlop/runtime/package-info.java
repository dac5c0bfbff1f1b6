/**
 * The only door to ONNX Runtime and CUDA: loads a model file, runs Open Inference Protocol requests
 * on it and gives its memory back. Knows nothing of pods, placement or downloads.
 */
@NullMarked
package orlop.runtime;

import org.jspecify.annotations.NullMarked;
