package orlop.runtime;

import inference.ModelMetadataResponse.TensorMetadata;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.LongStream;

/**
 * One declared input or output of a model.
 *
 * @param shape -1 for a dimension of any size; not to be changed
 * @param ranked false when the model leaves even the number of dimensions open
 */
record TensorSpec(String name, TensorType type, long[] shape, boolean ranked) {

  boolean admits(long[] actual) {
    if (!ranked) {
      return true;
    }
    if (actual.length != shape.length) {
      return false;
    }
    for (int i = 0; i < shape.length; i++) {
      if (shape[i] >= 0 && shape[i] != actual[i]) {
        return false;
      }
    }
    return true;
  }

  TensorMetadata metadata() {
    return TensorMetadata.newBuilder()
        .setName(name)
        .setDatatype(type.name())
        .addAllShape(LongStream.of(shape).boxed().toList())
        .build();
  }

  String shapeText() {
    return ranked ? text(shape) : "[...]";
  }

  /** As in {@code x FP32[-1,4]}. */
  @Override
  public String toString() {
    return name + " " + type + shapeText();
  }

  static String text(List<Long> shape) {
    return text(shape.stream().mapToLong(Long::longValue).toArray());
  }

  static String text(long[] shape) {
    return Arrays.stream(shape).mapToObj(Long::toString).collect(Collectors.joining(",", "[", "]"));
  }
}
