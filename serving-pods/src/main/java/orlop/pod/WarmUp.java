package orlop.pod;

import com.google.protobuf.ByteString;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelMetadataResponse.TensorMetadata;
import java.lang.System.Logger.Level;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import orlop.runtime.Cancellation;
import orlop.runtime.InferenceException;
import orlop.runtime.LoadedModel;

/** Runs a model a few times before anybody calls it, on one row of zeros. */
final class WarmUp {
  private static final System.Logger LOG = System.getLogger(WarmUp.class.getName());
  private static final long MOST_NS = TimeUnit.SECONDS.toNanos(10);
  private static final long MOST_BYTES = 64L << 20;

  private WarmUp() {}

  /**
   * Makes so many runs, or as many as ten seconds allow. A model that cannot run on zeros is loaded
   * all the same.
   */
  static void run(String modelId, LoadedModel model, int runs) {
    ModelInferRequest zeros = runs == 0 ? null : zeros(model);
    if (zeros == null) {
      return;
    }
    long startNs = System.nanoTime();
    try {
      for (int i = 0; i < runs && System.nanoTime() - startNs < MOST_NS; i++) {
        model.infer(zeros, Cancellation.NEVER);
      }
    } catch (InferenceException | RuntimeException e) {
      LOG.log(Level.INFO, "model ''{0}'' cannot warm up on zeros: {1}", modelId, e.getMessage());
    }
  }

  /** One row of zeros for each input; null when that would be too large. */
  private static @Nullable ModelInferRequest zeros(LoadedModel model) {
    ModelInferRequest.Builder request = ModelInferRequest.newBuilder();
    for (TensorMetadata tensor : model.metadata().getInputsList()) {
      InferInputTensor.Builder input =
          InferInputTensor.newBuilder().setName(tensor.getName()).setDatatype(tensor.getDatatype());
      long bytes = width(tensor.getDatatype());
      for (long dimension : tensor.getShapeList()) {
        long size = Math.max(1, dimension);
        input.addShape(size);
        if (bytes > MOST_BYTES / size) {
          return null;
        }
        bytes *= size;
      }
      request.addInputs(input).addRawInputContents(ByteString.copyFrom(new byte[(int) bytes]));
    }
    return request.build();
  }

  /** Bytes of one element; a text is as short as one can be. */
  private static int width(String datatype) {
    return switch (datatype) {
      case "BOOL", "INT8", "UINT8" -> 1;
      case "INT16", "UINT16", "FP16", "BF16" -> 2;
      case "INT64", "UINT64", "FP64" -> 8;
      default -> 4;
    };
  }
}
