package orlop.runtime;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.OrtSession.SessionOptions;
import java.util.EnumMap;
import java.util.Map;

/**
 * Makes tensors of UINT16, UINT32 and UINT64, for which the Java API has no constructor: the bits
 * go in as the signed type of that width and through a model of a single Cast, which keeps them (a
 * conversion between integers of one width is modular). Costs one tiny run and one copy per tensor.
 * Thread-safe.
 */
final class UnsignedCast implements AutoCloseable {
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
    return session.run(Map.of(OneNodeModel.INPUT, signed));
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
    return OneNodeModel.of("Cast", OneNodeModel.attribute("to", target.onnxCode()), signed, target)
        .toByteArray();
  }
}
