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

/** Writes ONNX files of dense layers with Relu between them; input x is FP32[-1,n], output y. */
final class DenseModel {
  private static final int FP32 = 1;
  private static final int IR_VERSION = 8;
  private static final int OPSET = 17;

  private DenseModel() {}

  /**
   * The file's bytes.
   *
   * @param seed equal seeds give equal weights
   * @param sizes of the input, of each layer, of the output
   */
  static byte[] onnx(long seed, int... sizes) {
    SplittableRandom random = new SplittableRandom(seed);
    List<ByteString> nodes = new ArrayList<>();
    List<ByteString> weights = new ArrayList<>();
    String at = "x";
    for (int i = 1; i < sizes.length; i++) {
      boolean last = i + 1 == sizes.length;
      weights.add(tensor("w" + i, random, sizes[i - 1], sizes[i]));
      weights.add(tensor("b" + i, random, sizes[i]));
      String sum = last ? "y" : "g" + i;
      nodes.add(node("Gemm", List.of(at, "w" + i, "b" + i), sum));
      if (!last) {
        nodes.add(node("Relu", List.of(sum), "r" + i));
      }
      at = "r" + i;
    }
    ByteString graph =
        message(
            out -> {
              each(out, 1, nodes);
              out.writeString(2, "dense");
              each(out, 5, weights);
              out.writeBytes(11, value("x", sizes[0]));
              out.writeBytes(12, value("y", sizes[sizes.length - 1]));
            });
    ByteString opset = message(out -> out.writeInt64(2, OPSET));
    return message(
            out -> {
              out.writeInt64(1, IR_VERSION);
              out.writeBytes(7, graph);
              out.writeBytes(8, opset);
            })
        .toByteArray();
  }

  private static ByteString node(String operator, List<String> inputs, String output) {
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
    ByteBuffer raw = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    while (raw.hasRemaining()) {
      raw.putFloat(random.nextInt() * 0x1p-35f);
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

  private static ByteString value(String name, int columns) {
    ByteString rows = message(out -> out.writeString(2, "n"));
    ByteString width = message(out -> out.writeInt64(1, columns));
    ByteString shape =
        message(
            out -> {
              out.writeBytes(1, rows);
              out.writeBytes(1, width);
            });
    ByteString tensor =
        message(
            out -> {
              out.writeInt32(1, FP32);
              out.writeBytes(2, shape);
            });
    ByteString type = message(out -> out.writeBytes(1, tensor));
    return message(
        out -> {
          out.writeString(1, name);
          out.writeBytes(2, type);
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
