package orlop.api;

import java.util.Map;

/**
 * One logged request or response: a CloudEvent 1.0 in Kafka's binary content mode.
 *
 * <p>The record's key is the model id in UTF-8, its value the message as it crossed the wire, and
 * its headers {@code ce_<attribute>} in UTF-8 under the names below. Request and response of one
 * inference share {@code id} and differ in {@code type}; this and the attribute names follow
 * KServe's logger, so that its consumers keep working. Source: CloudEvents Kafka protocol binding
 * 1.0.
 *
 * @param kind request or response
 * @param id correlation id, equal for the two halves of one inference
 * @param source URI of the pod that captured it
 * @param timeMs capture time, milliseconds since the epoch
 * @param modelId the model that ran, never an alias
 * @param alias the alias that the caller named, or empty
 * @param namespace the mesh's namespace, or empty
 * @param statusCode gRPC status code of a response; 0 for requests
 * @param sequence counts the events of one source from 1 without a gap; a hole is a dropped event
 * @param contentType media type of {@code value}
 * @param metadata request headers that are allowed to be logged
 * @param value the message; the receiver must not modify it
 */
public record PayloadEvent(
    Kind kind,
    String id,
    String source,
    long timeMs,
    String modelId,
    String alias,
    String namespace,
    int statusCode,
    long sequence,
    String contentType,
    Map<String, String> metadata,
    byte[] value) {

  /** Which half of an inference the event holds. */
  public enum Kind {
    REQUEST("org.kubeflow.serving.inference.request"),
    RESPONSE("org.kubeflow.serving.inference.response");

    /** The CloudEvents {@code type}. */
    public final String type;

    Kind(String type) {
      this.type = type;
    }
  }

  public static final String HEADER_PREFIX = "ce_";
  public static final String SPECVERSION = "ce_specversion";
  public static final String ID = "ce_id";
  public static final String TYPE = "ce_type";
  public static final String SOURCE = "ce_source";
  public static final String TIME = "ce_time";
  public static final String INFERENCE_SERVICE = "ce_inferenceservicename";
  public static final String NAMESPACE = "ce_namespace";
  public static final String COMPONENT = "ce_component";
  public static final String ENDPOINT = "ce_endpoint";
  public static final String METADATA = "ce_metadata";
  public static final String RECORDED_TIME = "ce_recordedtime";
  public static final String MODEL_ID = "ce_modelid";
  public static final String STATUS_CODE = "ce_statuscode";
  public static final String SEQUENCE = "ce_sequence";
  public static final String CONTENT_TYPE = "content-type";

  /** Media type of a V2 message in protobuf, the usual {@code contentType}. */
  public static final String PROTOBUF = "application/x-protobuf";
}
