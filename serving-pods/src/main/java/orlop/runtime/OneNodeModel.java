package orlop.runtime;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;

/** Writes ONNX models of one input, one operator and one output: y = operator(x). */
final class OneNodeModel {
  static final String INPUT = "x";
  private static final String OUTPUT = "y";
  private static final int IR_VERSION = 8;
  private static final int OPSET = 13;
  private static final int ATTRIBUTE_INT = 2;

  private OneNodeModel() {}

  /**
   * @param attribute of the operator, empty for none
   * @param shape of both tensors, -1 for a dimension of any size; none at all leaves the rank open
   */
  static ByteString of(
      String operator, ByteString attribute, TensorType in, TensorType out, long... shape) {
    ByteString node =
        message(
            to -> {
              to.writeString(1, INPUT);
              to.writeString(2, OUTPUT);
              to.writeString(4, operator);
              if (!attribute.isEmpty()) {
                to.writeBytes(5, attribute);
              }
            });
    ByteString graph =
        message(
            to -> {
              to.writeBytes(1, node);
              to.writeString(2, "one");
              to.writeBytes(11, value(INPUT, in, shape));
              to.writeBytes(12, value(OUTPUT, out, shape));
            });
    ByteString opset = message(to -> to.writeInt64(2, OPSET));
    return message(
        to -> {
          to.writeInt64(1, IR_VERSION);
          to.writeBytes(7, graph);
          to.writeBytes(8, opset);
        });
  }

  /** A whole number for the operator. */
  static ByteString attribute(String name, long value) {
    return message(
        to -> {
          to.writeString(1, name);
          to.writeInt64(3, value);
          to.writeInt32(20, ATTRIBUTE_INT);
        });
  }

  private static ByteString value(String name, TensorType type, long... shape) {
    ByteString tensor =
        message(
            to -> {
              to.writeInt32(1, type.onnxCode());
              if (shape.length > 0) {
                to.writeBytes(2, dimensions(shape));
              }
            });
    ByteString wrapped = message(to -> to.writeBytes(1, tensor));
    return message(
        to -> {
          to.writeString(1, name);
          to.writeBytes(2, wrapped);
        });
  }

  private static ByteString dimensions(long... shape) {
    return message(
        to -> {
          for (long size : shape) {
            ByteString dimension =
                message(
                    one -> {
                      if (size < 0) {
                        one.writeString(2, "n");
                      } else {
                        one.writeInt64(1, size);
                      }
                    });
            to.writeBytes(1, dimension);
          }
        });
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
