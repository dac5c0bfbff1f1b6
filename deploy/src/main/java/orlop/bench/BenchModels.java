package orlop.bench;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/** Writes the ONNX files that benchmarks run: input x and output y, FP32. */
final class BenchModels {
  private static final int FP32 = 1;
  private static final int IR_VERSION = 8;
  private static final int OPSET = 17;

  private BenchModels() {}

  /** y = x, of shape [-1]. */
  static byte[] identity() {
    return model(List.of(node("Identity", "y", "x")), List.of(), value("x", -1), value("y", -1));
  }

  /**
   * Dense layers with Relu between them: x is [-1, sizes[0]].
   *
   * @param seed equal seeds give equal weights
   * @param sizes of the input, of each layer, of the output
   */
  static byte[] dense(long seed, int... sizes) {
    SplittableRandom random = new SplittableRandom(seed);
    List<ByteString> nodes = new ArrayList<>();
    List<ByteString> weights = new ArrayList<>();
    String at = "x";
    for (int i = 1; i < sizes.length; i++) {
      boolean last = i + 1 == sizes.length;
      weights.add(tensor("w" + i, random, sizes[i - 1], sizes[i]));
      weights.add(tensor("b" + i, random, sizes[i]));
      nodes.add(node("Gemm", last ? "y" : "g" + i, at, "w" + i, "b" + i));
      if (!last) {
        nodes.add(node("Relu", "r" + i, "g" + i));
      }
      at = "r" + i;
    }
    return model(nodes, weights, value("x", -1, sizes[0]), value("y", -1, sizes[sizes.length - 1]));
  }

  /** A fixed amount of work: x of [1, size] times that many matrices of size x size. */
  static byte[] chain(int size, int steps) {
    SplittableRandom random = new SplittableRandom(2);
    List<ByteString> nodes = new ArrayList<>();
    for (int i = 0; i < steps; i++) {
      nodes.add(node("MatMul", i + 1 < steps ? "m" + i : "y", i == 0 ? "x" : "m" + (i - 1), "w"));
    }
    return model(
        nodes, List.of(tensor("w", random, size, size)), value("x", 1, size), value("y", 1, size));
  }

  private static byte[] model(
      List<ByteString> nodes, List<ByteString> weights, ByteString input, ByteString output) {
    ByteString graph =
        message(
            out -> {
              each(out, 1, nodes);
              out.writeString(2, "bench");
              each(out, 5, weights);
              out.writeBytes(11, input);
              out.writeBytes(12, output);
            });
    return message(
            out -> {
              out.writeInt64(1, IR_VERSION);
              out.writeBytes(7, graph);
              out.writeBytes(8, message(opset -> opset.writeInt64(2, OPSET)));
            })
        .toByteArray();
  }

  private static ByteString node(String operator, String output, String... inputs) {
    return message(
        out -> {
          for (String input : inputs) {
            out.writeString(1, input);
          }
          out.writeString(2, output);
          out.writeString(4, operator);
        });
  }

  private static ByteString tensor(String name, SplittableRandom random, int... shape) {
    int count = 1;
    for (int dimension : shape) {
      count *= dimension;
    }
    float scale = (float) (1 / Math.sqrt(shape[0]));
    ByteBuffer raw = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    while (raw.hasRemaining()) {
      raw.putFloat(scale * (2 * random.nextFloat() - 1));
    }
    return message(
        out -> {
          for (int dimension : shape) {
            out.writeInt64(1, dimension);
          }
          out.writeInt32(2, FP32);
          out.writeString(8, name);
          out.writeByteArray(9, raw.array());
        });
  }

  private static ByteString value(String name, long... shape) {
    ByteString sizes =
        message(
            out -> {
              for (long size : shape) {
                out.writeBytes(
                    1,
                    message(
                        dimension -> {
                          if (size < 0) {
                            dimension.writeString(2, "n");
                          } else {
                            dimension.writeInt64(1, size);
                          }
                        }));
              }
            });
    ByteString tensor =
        message(
            out -> {
              out.writeInt32(1, FP32);
              out.writeBytes(2, sizes);
            });
    return message(
        out -> {
          out.writeString(1, name);
          out.writeBytes(2, message(type -> type.writeBytes(1, tensor)));
        });
  }

  private static void each(CodedOutputStream out, int field, List<ByteString> messages)
      throws IOException {
    for (ByteString message : messages) {
      out.writeBytes(field, message);
    }
  }

  private interface Body {
    void writeTo(CodedOutputStream out) throws IOException;
  }

  private static ByteString message(Body body) {
    ByteString.Output bytes = ByteString.newOutput();
    CodedOutputStream out = CodedOutputStream.newInstance(bytes);
    try {
      body.writeTo(out);
      out.flush();
    } catch (IOException e) {
      throw new UncheckedIOException("writing to memory failed", e);
    }
    return bytes.toByteString();
  }
}
