package orlop.runtime;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxTensorLike;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import com.google.protobuf.ByteString;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Byte-exact string tensors, through the engine's C interface. The Java API passes strings as the
 * JVM's modified UTF-8: a zero byte, an emoji or anything that is no text would reach the model, or
 * come back from it, as other bytes. Thread-safe.
 */
final class StringTensors {
  private static final AddressLayout POINTER = ValueLayout.ADDRESS;
  private static final ValueLayout.OfLong SIZE = ValueLayout.JAVA_LONG;

  private static final int GET_STRING_TENSOR_DATA_LENGTH = 53;
  private static final int GET_STRING_TENSOR_CONTENT = 54;
  private static final int GET_RESIZED_STRING_TENSOR_ELEMENT_BUFFER = 252;

  private final OrtEnvironment environment;
  private final MethodHandle dataLength;
  private final MethodHandle content;
  private final MethodHandle resizedElement;
  private final Field nativeHandle;

  /**
   * @throws IllegalStateException when the engine's native library is not as expected
   */
  StringTensors(OrtEnvironment environment) {
    this.environment = environment;
    this.dataLength = EngineApi.function(GET_STRING_TENSOR_DATA_LENGTH, POINTER, POINTER, POINTER);
    this.content =
        EngineApi.function(
            GET_STRING_TENSOR_CONTENT, POINTER, POINTER, POINTER, SIZE, POINTER, SIZE);
    this.resizedElement =
        EngineApi.function(
            GET_RESIZED_STRING_TENSOR_ELEMENT_BUFFER, POINTER, POINTER, SIZE, SIZE, POINTER);
    this.nativeHandle = EngineApi.handleOf(OnnxTensorLike.class);
  }

  /** The caller closes the tensor. */
  OnnxTensor create(List<ByteString> elements, long[] shape) throws OrtException {
    String[] blanks = new String[elements.size()];
    Arrays.fill(blanks, "");
    OnnxTensor tensor = OnnxTensor.createTensor(environment, blanks, shape);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = handle(tensor);
      MemorySegment holder = arena.allocate(POINTER);
      for (int i = 0; i < blanks.length; i++) {
        ByteString element = elements.get(i);
        if (!element.isEmpty()) {
          check(
              (MemorySegment)
                  resizedElement.invokeExact(value, (long) i, (long) element.size(), holder));
          MemorySegment buffer = holder.get(POINTER, 0).reinterpret(element.size());
          element.copyTo(buffer.asByteBuffer());
        }
      }
      return tensor;
    } catch (Throwable e) {
      tensor.close();
      throw new IllegalStateException("a string tensor could not be filled: " + e, e);
    }
  }

  /** All elements in row-major order. */
  List<ByteString> read(OnnxTensor tensor) {
    int count = Math.toIntExact(tensor.getInfo().getNumElements());
    if (count == 0) {
      return List.of();
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = handle(tensor);
      MemorySegment length = arena.allocate(SIZE);
      check((MemorySegment) dataLength.invokeExact(value, length));
      long bytes = length.get(SIZE, 0);
      MemorySegment text = arena.allocate(Math.max(bytes, 1));
      MemorySegment starts = arena.allocate(SIZE, count);
      check((MemorySegment) content.invokeExact(value, text, bytes, starts, (long) count));
      List<ByteString> elements = new ArrayList<>(count);
      for (int i = 0; i < count; i++) {
        long start = starts.getAtIndex(SIZE, i);
        long end = i + 1 < count ? starts.getAtIndex(SIZE, i + 1) : bytes;
        elements.add(ByteString.copyFrom(text.asSlice(start, end - start).asByteBuffer()));
      }
      return elements;
    } catch (Throwable e) {
      throw new IllegalStateException("a string tensor could not be read: " + e, e);
    }
  }

  private MemorySegment handle(OnnxTensor tensor) throws IllegalAccessException {
    return MemorySegment.ofAddress(nativeHandle.getLong(tensor));
  }

  /** A null status is success; another would be a mistake of ours, so its few bytes may leak. */
  private static void check(MemorySegment status) {
    if (status.address() != 0) {
      throw new IllegalStateException("the engine refused an access to a string tensor");
    }
  }
}
