package orlop.runtime;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Writes small ONNX models for tests, as bytes. Datatypes are named as in V2; -1 is a dimension of
 * any size, and a null shape one of any rank. Inputs are called x (x0, x1, ... where there are
 * several), outputs y.
 */
public final class OnnxModels {
  private static final int IR_VERSION = 8;
  private static final int OPSET = 17;

  private OnnxModels() {}

  /** y = x. */
  public static byte[] identity(String datatype, long... shape) {
    return model(
        List.of(node("Identity", List.of("x"), List.of("y"))),
        List.of(),
        List.of(value("x", datatype, shape)),
        List.of(value("y", datatype, shape)));
  }

  /** y = x, whatever the rank of x. */
  public static byte[] identityOfAnyRank(String datatype) {
    return model(
        List.of(node("Identity", List.of("x"), List.of("y"))),
        List.of(),
        List.of(value("x", datatype, (long @Nullable []) null)),
        List.of(value("y", datatype, (long @Nullable []) null)));
  }

  /** y = x * weights + bias: x is FP32[-1,n] for n weights, y FP32[-1,1]. */
  public static byte[] linear(float bias, float... weights) {
    return model(
        List.of(node("Gemm", List.of("x", "w", "b"), List.of("y"))),
        List.of(tensor("w", new long[] {weights.length, 1}, weights), tensor("b", one(), bias)),
        List.of(value("x", "FP32", -1, weights.length)),
        List.of(value("y", "FP32", -1, 1)));
  }

  /** A chain of dense layers with Relu, with weights of no meaning: x is FP32[-1,sizes[0]]. */
  public static byte[] dense(int... sizes) {
    List<ByteString> nodes = new ArrayList<>();
    List<ByteString> weights = new ArrayList<>();
    String at = "x";
    for (int i = 1; i < sizes.length; i++) {
      float[] w = new float[sizes[i - 1] * sizes[i]];
      for (int j = 0; j < w.length; j++) {
        w[j] = (j * 31 + i) % 1009 * 1e-4f - 0.05f;
      }
      weights.add(tensor("w" + i, new long[] {sizes[i - 1], sizes[i]}, w));
      weights.add(tensor("b" + i, new long[] {sizes[i]}, new float[sizes[i]]));
      nodes.add(node("Gemm", List.of(at, "w" + i, "b" + i), List.of("g" + i)));
      at = i + 1 < sizes.length ? "r" + i : "y";
      nodes.add(node("Relu", List.of("g" + i), List.of(at)));
    }
    return model(
        nodes,
        weights,
        List.of(value("x", "FP32", -1, sizes[0])),
        List.of(value("y", "FP32", -1, sizes[sizes.length - 1])));
  }

  /** Takes long: {@code steps} products of size x size matrices, x and y are FP32[size,size]. */
  public static byte[] slow(int size, int steps) {
    List<ByteString> nodes = new ArrayList<>();
    String at = "x";
    for (int i = 0; i < steps; i++) {
      String next = i + 1 < steps ? "m" + i : "y";
      nodes.add(node("MatMul", List.of(at, "x"), List.of(next)));
      at = next;
    }
    return model(
        nodes,
        List.of(),
        List.of(value("x", "FP32", size, size)),
        List.of(value("y", "FP32", size, size)));
  }

  /** y = x twice, one below the other, though both say to be FP32[-1,n]: it breaks its word. */
  public static byte[] twice(int n) {
    return model(
        List.of(node("Concat", List.of("x", "x"), List.of("y"), intAttribute("axis", 0))),
        List.of(),
        List.of(value("x", "FP32", -1, n)),
        List.of(value("y", "FP32", -1, n)));
  }

  /** y = softmax over all rows of each column of x, an FP32[-1,n]: no row is alone. */
  public static byte[] acrossRows(int n) {
    return model(
        List.of(node("Softmax", List.of("x"), List.of("y"), intAttribute("axis", 0))),
        List.of(),
        List.of(value("x", "FP32", -1, n)),
        List.of(value("y", "FP32", -1, n)));
  }

  /** y = x cast to another datatype. */
  public static byte[] cast(String from, String to, long... shape) {
    return model(
        List.of(node("Cast", List.of("x"), List.of("y"), intAttribute("to", code(to)))),
        List.of(),
        List.of(value("x", from, shape)),
        List.of(value("y", to, shape)));
  }

  /** Zeros of the shape that x, an INT64[-1], asks for. Answers with as much memory as asked. */
  public static byte[] zerosOfShape() {
    return model(
        List.of(node("ConstantOfShape", List.of("x"), List.of("y"))),
        List.of(),
        List.of(value("x", "INT64", -1)),
        List.of(value("y", "FP32", (long @Nullable []) null)));
  }

  /** The scalar y = the sum of all of x, an FP32[-1]. */
  public static byte[] sum() {
    return model(
        List.of(node("ReduceSum", List.of("x"), List.of("y"), intAttribute("keepdims", 0))),
        List.of(),
        List.of(value("x", "FP32", -1)),
        List.of(value("y", "FP32")));
  }

  /** Two inputs x0 FP32[-1,2] and x1 INT64[-1]; outputs y0 = x0, y1 = x1 and y2 FP16 = x0. */
  public static byte[] twoInputs() {
    return model(
        List.of(
            node("Identity", List.of("x0"), List.of("y0")),
            node("Identity", List.of("x1"), List.of("y1")),
            node("Cast", List.of("x0"), List.of("y2"), intAttribute("to", code("FP16")))),
        List.of(),
        List.of(value("x0", "FP32", -1, 2), value("x1", "INT64", -1)),
        List.of(value("y0", "FP32", -1, 2), value("y1", "INT64", -1), value("y2", "FP16", -1, 2)));
  }

  /** x is FP32[-1]; outputs y0 = x, y1 INT64 and y2 BOOL = x, each FP32[-1] but for its type. */
  public static byte[] threeWidths() {
    return model(
        List.of(
            node("Identity", List.of("x"), List.of("y0")),
            node("Cast", List.of("x"), List.of("y1"), intAttribute("to", code("INT64"))),
            node("Cast", List.of("x"), List.of("y2"), intAttribute("to", code("BOOL")))),
        List.of(),
        List.of(value("x", "FP32", -1)),
        List.of(value("y0", "FP32", -1), value("y1", "INT64", -1), value("y2", "BOOL", -1)));
  }

  /** y, an INT64[1,-1], says which elements of x, an FP32[-1], are not zero. */
  public static byte[] nonZero() {
    return model(
        List.of(node("NonZero", List.of("x"), List.of("y"))),
        List.of(),
        List.of(value("x", "FP32", -1)),
        List.of(value("y", "INT64", 1, -1)));
  }

  /**
   * If the first element of x, an FP32[-1], is true, y0 = x and else n numbers that the branch
   * itself holds; y1 are the same n numbers in any case.
   */
  public static byte[] branches(int n) {
    float[] numbers = new float[n];
    for (int i = 0; i < n; i++) {
      numbers[i] = i;
    }
    ByteString same =
        message(
            out -> {
              out.writeBytes(1, node("Identity", List.of("x"), List.of("t")));
              out.writeString(2, "then");
              out.writeBytes(12, value("t", "FP32", -1));
            });
    ByteString held = tensor("held", new long[] {n}, numbers);
    ByteString constant =
        message(
            out -> {
              out.writeBytes(1, node("Constant", List.of(), List.of("e"), attribute(held)));
              out.writeString(2, "else");
              out.writeBytes(12, value("e", "FP32", n));
            });
    return model(
        List.of(
            node("Gather", List.of("x", "zero"), List.of("first")),
            node("Cast", List.of("first"), List.of("c"), intAttribute("to", code("BOOL"))),
            node(
                "If",
                List.of("c"),
                List.of("y0"),
                graphAttribute("then_branch", same),
                graphAttribute("else_branch", constant)),
            node("Constant", List.of(), List.of("y1"), attribute(held))),
        List.of(index("zero", 0)),
        List.of(value("x", "FP32", -1)),
        List.of(value("y0", "FP32", -1), value("y1", "FP32", n)));
  }

  /** Outputs x, which is the input itself, an FP32[-1], and y = x. */
  public static byte[] passesItsInput() {
    return model(
        List.of(node("Identity", List.of("x"), List.of("y"))),
        List.of(),
        List.of(value("x", "FP32", -1)),
        List.of(value("x", "FP32", -1), value("y", "FP32", -1)));
  }

  /** Outputs w, which are n weights themselves, and y = x, an FP32[-1]. */
  public static byte[] passesItsWeights(int n) {
    float[] numbers = new float[n];
    for (int i = 0; i < n; i++) {
      numbers[i] = i;
    }
    return model(
        List.of(node("Identity", List.of("x"), List.of("y"))),
        List.of(tensor("w", new long[] {n}, numbers)),
        List.of(value("x", "FP32", -1)),
        List.of(value("w", "FP32", n), value("y", "FP32", -1)));
  }

  /** y0 = x doubled so many times, y1 = x before each of them; x is FP32[-1]. */
  public static byte[] loop(int times) {
    ByteString body =
        message(
            out -> {
              out.writeBytes(1, node("Identity", List.of("go"), List.of("goes")));
              out.writeBytes(1, node("Add", List.of("v", "v"), List.of("twice")));
              out.writeBytes(1, node("Identity", List.of("v"), List.of("was")));
              out.writeString(2, "body");
              out.writeBytes(11, value("i", "INT64"));
              out.writeBytes(11, value("go", "BOOL"));
              out.writeBytes(11, value("v", "FP32", -1));
              out.writeBytes(12, value("goes", "BOOL"));
              out.writeBytes(12, value("twice", "FP32", -1));
              out.writeBytes(12, value("was", "FP32", -1));
            });
    return model(
        List.of(
            node(
                "Loop",
                List.of("times", "", "x"),
                List.of("y0", "y1"),
                graphAttribute("body", body))),
        List.of(index("times", times)),
        List.of(value("x", "FP32", -1)),
        List.of(value("y0", "FP32", -1), value("y1", "FP32", -1, -1)));
  }

  /** As scikit-learn exports classifiers: y = x, probabilities = a sequence of maps. */
  public static byte[] zipMap(boolean withTensor) {
    ByteString labels =
        message(
            out -> {
              out.writeString(1, "classlabels_int64s");
              out.writeInt64(8, 0);
              out.writeInt64(8, 1);
              out.writeInt32(20, 7);
            });
    ByteString floats = message(out -> out.writeInt32(1, code("FP32")));
    ByteString floatTensor = message(out -> out.writeBytes(1, floats));
    ByteString map =
        message(
            out -> {
              out.writeInt32(1, code("INT64"));
              out.writeBytes(2, floatTensor);
            });
    ByteString mapType = message(out -> out.writeBytes(5, map));
    ByteString sequence = message(out -> out.writeBytes(1, mapType));
    ByteString type = message(out -> out.writeBytes(4, sequence));
    ByteString probabilities =
        message(
            out -> {
              out.writeString(1, "probabilities");
              out.writeBytes(2, type);
            });
    ByteString zip =
        message(
            out -> {
              out.writeString(1, "x");
              out.writeString(2, "probabilities");
              out.writeString(4, "ZipMap");
              out.writeBytes(5, labels);
              out.writeString(7, "ai.onnx.ml");
            });
    return model(
        withTensor ? List.of(node("Identity", List.of("x"), List.of("y")), zip) : List.of(zip),
        List.of(),
        List.of(value("x", "FP32", -1, 2)),
        withTensor ? List.of(value("y", "FP32", -1, 2), probabilities) : List.of(probabilities));
  }

  /** y = x + w where w, FP32[n], lies in another file beside the model. */
  public static byte[] external(String location, int n) {
    ByteString w =
        message(
            out -> {
              out.writeInt64(1, n);
              out.writeInt32(2, code("FP32"));
              out.writeString(8, "w");
              out.writeBytes(13, entry("location", location));
              out.writeBytes(13, entry("offset", "0"));
              out.writeBytes(13, entry("length", Integer.toString(4 * n)));
              out.writeInt32(14, 1);
            });
    return model(
        List.of(node("Add", List.of("x", "w"), List.of("y"))),
        List.of(w),
        List.of(value("x", "FP32", n)),
        List.of(value("y", "FP32", n)));
  }

  /** Well-formed, but with an operator that no engine knows. */
  public static byte[] unknownOperator() {
    return model(
        List.of(node("Frobnicate", List.of("x"), List.of("y"))),
        List.of(),
        List.of(value("x", "FP32", 1)),
        List.of(value("y", "FP32", 1)));
  }

  /** The number of a V2 datatype in ONNX files. */
  public static int code(String datatype) {
    return switch (datatype) {
      case "FP32" -> 1;
      case "UINT8" -> 2;
      case "INT8" -> 3;
      case "UINT16" -> 4;
      case "INT16" -> 5;
      case "INT32" -> 6;
      case "INT64" -> 7;
      case "BYTES" -> 8;
      case "BOOL" -> 9;
      case "FP16" -> 10;
      case "FP64" -> 11;
      case "UINT32" -> 12;
      case "UINT64" -> 13;
      case "COMPLEX64" -> 14;
      case "BF16" -> 16;
      default -> throw new IllegalArgumentException("no ONNX type for " + datatype);
    };
  }

  private static byte[] model(
      List<ByteString> nodes,
      List<ByteString> weights,
      List<ByteString> inputs,
      List<ByteString> outputs) {
    ByteString graph =
        message(
            out -> {
              each(out, 1, nodes);
              out.writeString(2, "test");
              each(out, 5, weights);
              each(out, 11, inputs);
              each(out, 12, outputs);
            });
    ByteString opset = message(out -> out.writeInt64(2, OPSET));
    ByteString mlOpset =
        message(
            out -> {
              out.writeString(1, "ai.onnx.ml");
              out.writeInt64(2, 1);
            });
    return message(
            out -> {
              out.writeInt64(1, IR_VERSION);
              out.writeBytes(7, graph);
              out.writeBytes(8, opset);
              out.writeBytes(8, mlOpset);
            })
        .toByteArray();
  }

  private static ByteString node(
      String op, List<String> inputs, List<String> outputs, ByteString... attributes) {
    return message(
        out -> {
          for (String input : inputs) {
            out.writeString(1, input);
          }
          for (String output : outputs) {
            out.writeString(2, output);
          }
          out.writeString(4, op);
          each(out, 5, List.of(attributes));
        });
  }

  private static ByteString intAttribute(String name, long number) {
    return message(
        out -> {
          out.writeString(1, name);
          out.writeInt64(3, number);
          out.writeInt32(20, 2);
        });
  }

  private static ByteString graphAttribute(String name, ByteString graph) {
    return message(
        out -> {
          out.writeString(1, name);
          out.writeBytes(6, graph);
          out.writeInt32(20, 5);
        });
  }

  /** The value of a constant. */
  private static ByteString attribute(ByteString tensor) {
    return message(
        out -> {
          out.writeString(1, "value");
          out.writeBytes(5, tensor);
          out.writeInt32(20, 4);
        });
  }

  /** A scalar INT64. */
  private static ByteString index(String name, long number) {
    return message(
        out -> {
          out.writeInt32(2, code("INT64"));
          out.writeInt64(7, number);
          out.writeString(8, name);
        });
  }

  private static ByteString tensor(String name, long[] shape, float... numbers) {
    ByteBuffer raw = ByteBuffer.allocate(4 * numbers.length).order(ByteOrder.LITTLE_ENDIAN);
    raw.asFloatBuffer().put(numbers);
    return message(
        out -> {
          for (long dimension : shape) {
            out.writeInt64(1, dimension);
          }
          out.writeInt32(2, code("FP32"));
          out.writeString(8, name);
          out.writeByteArray(9, raw.array());
        });
  }

  private static ByteString value(String name, String datatype, long @Nullable ... shape) {
    ByteString tensor =
        message(
            out -> {
              out.writeInt32(1, code(datatype));
              if (shape != null) {
                out.writeBytes(2, shape(shape));
              }
            });
    ByteString type = message(out -> out.writeBytes(1, tensor));
    return message(
        out -> {
          out.writeString(1, name);
          out.writeBytes(2, type);
        });
  }

  private static ByteString shape(long... shape) {
    return message(
        out -> {
          for (long dimension : shape) {
            out.writeBytes(
                1,
                message(
                    d -> {
                      if (dimension >= 0) {
                        d.writeInt64(1, dimension);
                      } else {
                        d.writeString(2, "n");
                      }
                    }));
          }
        });
  }

  private static ByteString entry(String key, String text) {
    return message(
        out -> {
          out.writeString(1, key);
          out.writeString(2, text);
        });
  }

  private static long[] one() {
    return new long[] {1};
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
