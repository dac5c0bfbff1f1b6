package orlop.runtime;

import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest.InferInputTensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import orlop.runtime.TensorType.Field;

/**
 * The questions that one input tensor must answer before its bytes reach the engine. Every refusal
 * names model, tensor, what was expected and what came.
 *
 * @param shape as the request gives it, checked
 * @param count elements of that shape
 */
record TensorCheck(Signature signature, TensorSpec spec, long[] shape, int count) {

  /** Checks datatype and shape. */
  static TensorCheck of(Signature signature, TensorSpec spec, InferInputTensor input)
      throws InferenceException {
    if (!input.getDatatype().equals(spec.type().name())) {
      String unknown =
          TensorType.ofWireName(input.getDatatype()) == null ? " (no V2 datatype)" : "";
      throw signature.refuseInput(
          spec, "datatype '" + input.getDatatype() + "'" + unknown + ", expected " + spec.type());
    }
    long[] shape = new long[input.getShapeCount()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = input.getShape(i);
      if (shape[i] < 0) {
        throw signature.refuseInput(
            spec,
            "shape "
                + TensorSpec.text(input.getShapeList())
                + " has a negative dimension, "
                + "expected "
                + spec.shapeText()
                + " with a real size for each -1");
      }
    }
    if (!spec.admits(shape)) {
      throw signature.refuseInput(
          spec, "shape " + TensorSpec.text(shape) + ", expected " + spec.shapeText());
    }
    return new TensorCheck(signature, spec, shape, count(signature, spec, shape));
  }

  private static int count(Signature signature, TensorSpec spec, long[] shape)
      throws InferenceException {
    int width = Math.max(spec.type().width, 1);
    long elements = 1;
    boolean empty = false;
    for (long dimension : shape) {
      // Empty dimensions do not excuse huge ones beside them.
      empty |= dimension == 0;
      long factor = Math.max(dimension, 1);
      if (factor > Integer.MAX_VALUE / width / elements) {
        throw signature.refuseInput(
            spec,
            "shape "
                + TensorSpec.text(shape)
                + " is too large, expected at most "
                + Integer.MAX_VALUE
                + " bytes of "
                + spec.type());
      }
      elements *= factor;
    }
    return empty ? 0 : (int) elements;
  }

  void requireRawLength(int actualBytes) throws InferenceException {
    int expectedBytes = count * spec.type().width;
    if (actualBytes != expectedBytes) {
      throw refuse(
          "raw contents of "
              + actualBytes
              + " bytes, expected "
              + expectedBytes
              + " for "
              + spec.type()
              + TensorSpec.text(shape));
    }
  }

  /** Typed contents beside raw ones would leave two answers to what the tensor holds. */
  void requireNoContents(InferTensorContents contents) throws InferenceException {
    for (Field field : Field.values()) {
      int n = field.count(contents);
      if (n > 0) {
        throw refuse(
            n
                + " elements in contents."
                + field.wireName
                + " beside raw_input_contents, expected one of the two");
      }
    }
  }

  /** Checks that the elements stand in the right field and are as many as the shape says. */
  int requireContents(InferTensorContents contents) throws InferenceException {
    Field field = spec.type().field;
    if (field == null) {
      throw refuse(
          "typed contents, expected raw_input_contents: V2 has no field for " + spec.type());
    }
    for (Field other : Field.values()) {
      int n = other.count(contents);
      if (other != field && n > 0) {
        throw refuse(
            n
                + " elements in contents."
                + other.wireName
                + ", expected "
                + spec.type()
                + " in contents."
                + field.wireName);
      }
    }
    requireCount(field.count(contents));
    return count;
  }

  private void requireCount(int actual) throws InferenceException {
    if (actual != count) {
      throw refuse(
          actual + " elements, expected " + count + " for " + spec.type() + TensorSpec.text(shape));
    }
  }

  /** A bool of any other byte is undefined behaviour inside the engine. */
  void requireBooleans(ByteBuffer data) throws InferenceException {
    for (int i = data.position(); i < data.limit(); i++) {
      if ((data.get(i) & 0xfe) != 0) {
        throw refuse(
            "byte "
                + (data.get(i) & 0xff)
                + " at index "
                + (i - data.position())
                + ", expected 0 or 1 for BOOL");
      }
    }
  }

  /** Takes raw BYTES apart: each element follows its length in 4 bytes, little-endian. */
  List<ByteString> splitBytes(ByteString raw) throws InferenceException {
    // Each element takes four bytes at least, so the list is never larger than the contents.
    List<ByteString> elements = new ArrayList<>(Math.min(count, raw.size() / 4));
    int at = 0;
    while (at < raw.size()) {
      if (raw.size() - at < 4) {
        throw refuse(
            "raw contents end inside the length of element "
                + elements.size()
                + ": "
                + (raw.size() - at)
                + " bytes left, expected 4");
      }
      int length = length(raw, at);
      at += 4;
      if (length < 0 || length > raw.size() - at) {
        throw refuse(
            "element "
                + elements.size()
                + " says to have "
                + Integer.toUnsignedString(length)
                + " bytes, expected at most the "
                + (raw.size() - at)
                + " that are left");
      }
      elements.add(raw.substring(at, at + length));
      at += length;
    }
    requireCount(elements.size());
    return elements;
  }

  InferenceException refuse(String what) {
    return signature.refuseInput(spec, what);
  }

  private static int length(ByteString raw, int at) {
    return (raw.byteAt(at) & 0xff)
        | (raw.byteAt(at + 1) & 0xff) << 8
        | (raw.byteAt(at + 2) & 0xff) << 16
        | (raw.byteAt(at + 3) & 0xff) << 24;
  }
}
