package orlop.pod;

import inference.ModelInferRequest;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import java.util.List;

/**
 * Whether the first dimension of a model's tensors is a batch of independent rows, as far as its
 * metadata tells: every input and output begins with a dimension of any size. Triton's word for it
 * is a {@code max_batch_size} above 0. Pure.
 */
final class BatchAxis {
  /**
   * What such a model's configuration states as {@code max_batch_size}. Nothing here refuses a
   * larger batch: what bounds one is the size of its message.
   */
  static final int MAX_BATCH_SIZE = 4_096;

  private BatchAxis() {}

  static boolean of(ModelMetadataResponse metadata) {
    return metadata.getInputsCount() > 0
        && metadata.getOutputsCount() > 0
        && batched(metadata.getInputsList())
        && batched(metadata.getOutputsList());
  }

  private static boolean batched(List<TensorMetadata> tensors) {
    for (int i = 0; i < tensors.size(); i++) {
      TensorMetadata tensor = tensors.get(i);
      if (tensor.getShapeCount() == 0 || tensor.getShape(0) != -1) {
        return false;
      }
    }
    return true;
  }

  /** How many inferences a request asks for: its batch size, or 1 where there is no batch. */
  static long rows(ModelMetadataResponse metadata, ModelInferRequest request) {
    return request.getInputsCount() > 0 && request.getInputs(0).getShapeCount() > 0 && of(metadata)
        ? request.getInputs(0).getShape(0)
        : 1;
  }
}
