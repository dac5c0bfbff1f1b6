package orlop.pod;

import io.grpc.Metadata;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;
import orlop.placement.MeshView;
import orlop.placement.Model;

/**
 * How a call names its model: header {@code mm-model-id}, else {@code mm-vmodel-id}, else the name
 * inside the message. Where both headers stand, the first says what runs and the second what the
 * answer calls it, which is how pods pass an alias on.
 *
 * @param model what runs
 * @param alias the alias that the caller named, or empty
 */
record Named(Model model, String alias) {
  private static final String BIN = Metadata.BINARY_HEADER_SUFFIX;

  /** The name that answers carry: the one that the caller used. */
  String asked() {
    return alias.isEmpty() ? model.id() : alias;
  }

  /** Whether headers say which model is meant. */
  static boolean byHeaders(RequestHeaders headers) {
    return read(headers, Headers.MODEL_ID) != null || read(headers, Headers.VMODEL_ID) != null;
  }

  /** The name by which the caller asks, before anything is looked up; empty when it gave none. */
  static String asked(RequestHeaders headers, String nameInside) {
    String model = read(headers, Headers.MODEL_ID);
    if (model != null) {
      return model;
    }
    String alias = read(headers, Headers.VMODEL_ID);
    return alias != null ? alias : nameInside;
  }

  /** Null when nothing of that name is registered. */
  static @Nullable Named resolve(MeshView view, RequestHeaders headers, String nameInside) {
    String id = read(headers, Headers.MODEL_ID);
    String alias = read(headers, Headers.VMODEL_ID);
    Model exact = id == null ? null : view.model(id);
    if (exact != null) {
      return new Named(exact, alias == null ? "" : alias);
    }
    String name = id != null ? id : alias != null ? alias : nameInside;
    Model model = view.resolve(name);
    return model == null ? null : new Named(model, view.alias(name) == null ? "" : name);
  }

  /** Makes the headers name what this pod resolved. */
  void writeTo(Http2Headers headers) {
    headers.remove(Wire.MODEL_BIN);
    headers.remove(Wire.ALIAS_BIN);
    write(headers, Wire.MODEL, Wire.MODEL_BIN, model.id());
    if (alias.isEmpty()) {
      headers.remove(Wire.ALIAS);
    } else {
      write(headers, Wire.ALIAS, Wire.ALIAS_BIN, alias);
    }
  }

  static Metadata.Key<String> ascii(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private static @Nullable String read(RequestHeaders headers, String name) {
    String value = headers.get(name);
    return value != null ? value : headers.get(name + BIN);
  }

  private static void write(
      Http2Headers headers, AsciiString text, AsciiString bytes, String value) {
    if (value.chars().allMatch(c -> c > ' ' && c <= '~')) {
      headers.set(text, AsciiString.of(value));
    } else {
      headers.remove(text);
      byte[] utf8 = value.getBytes(StandardCharsets.UTF_8);
      headers.set(bytes, AsciiString.of(Base64.getEncoder().withoutPadding().encodeToString(utf8)));
    }
  }
}
