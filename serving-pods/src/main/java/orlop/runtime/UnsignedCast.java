package orlop.runtime;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.OrtSession.SessionOptions;
import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.EnumMap;
import java.util.Map;

/**
 * Makes tensors of UINT16, UINT32 and UINT64, for which the Java API has no constructor: the bits
 * go in as the signed type of that width and through a model of a single Cast, which keeps them (a
 * conversion between integers of one width is modular). Costs one tiny run and one copy per tensor.
 * Thread-safe.
 */
final class UnsignedCast implements AutoCloseable {
  private static final String INPUT = "x";
  private static final String OUTPUT = "y";
  private static final int IR_VERSION = 8;
  private static final int OPSET = 13;
  private static final int ATTRIBUTE_INT = 2;

  private final Map<TensorType, OrtSession> sessions = new EnumMap<>(TensorType.class);

  UnsignedCast(OrtEnvironment environment, SessionOptions options) throws OrtException {
    for (TensorType type : TensorType.values()) {
      if (type.needsCast()) {
        sessions.put(type, environment.createSession(castModel(type), options));
      }
    }
  }

  /** The same bits as {@code type}. The caller closes the result, and the tensor is its first. */
  OrtSession.Result apply(TensorType type, OnnxTensor signed) throws OrtException {
    OrtSession session = sessions.get(type);
    if (session == null) {
      throw new IllegalArgumentException(type + " needs no cast");
    }
    return session.run(Map.of(INPUT, signed));
  }

  @Override
  public void close() {
    for (OrtSession session : sessions.values()) {
      try {
        session.close();
      } catch (OrtException e) {
        throw new IllegalStateException("a cast session did not close", e);
      }
    }
    sessions.clear();
  }

  private static byte[] castModel(TensorType target) {
    TensorType signed = TensorType.valueOf(target.name().substring(1));
    ByteString attribute =
        message(
            out -> {
              out.writeString(1, "to");
              out.writeInt64(3, target.onnxCode());
              out.writeInt32(20, ATTRIBUTE_INT);
            });
    ByteString node =
        message(
            out -> {
              out.writeString(1, INPUT);
              out.writeString(2, OUTPUT);
              out.writeString(4, "Cast");
              out.writeBytes(5, attribute);
            });
    ByteString graph =
        message(
            out -> {
              out.writeBytes(1, node);
              out.writeString(2, "cast");
              out.writeBytes(11, value(INPUT, signed));
              out.writeBytes(12, value(OUTPUT, target));
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

  /** A tensor of that type and of any shape. */
  private static ByteString value(String name, TensorType type) {
    ByteString tensor = message(out -> out.writeInt32(1, type.onnxCode()));
    ByteString wrapped = message(out -> out.writeBytes(1, tensor));
    return message(
        out -> {
          out.writeString(1, name);
          out.writeBytes(2, wrapped);
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
