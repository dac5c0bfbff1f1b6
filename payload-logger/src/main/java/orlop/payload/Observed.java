package orlop.payload;

import com.google.protobuf.ByteString;
import orlop.api.PayloadEvent.Kind;

/**
 * One half of an inference on its way to the processors.
 *
 * @param method full gRPC name, {@code service/method}
 * @param alias the alias that the caller named, or empty
 */
record Observed(
    Kind kind,
    String id,
    String modelId,
    String alias,
    String method,
    int statusCode,
    ByteString value) {}
