package orlop.drift;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import orlop.api.PayloadEvent;

/**
 * A verdict as it is written: a JSON value and the headers of a CloudEvent. The id is a function of
 * the feature and the record that completed the evidence, so a verdict that is written again after
 * a crash is recognised as the same.
 *
 * @param model the model
 * @param feature its input feature
 * @param alarm what was found
 * @param budgetPerDay expected false alarms per day of the whole server
 * @param eventId correlation id of the record that completed the evidence
 * @param position partition and offset of that record
 * @param atMs capture time of that record
 */
record VerdictEvent(
    String model,
    FeatureKey feature,
    Alarm alarm,
    double budgetPerDay,
    String eventId,
    String position,
    long atMs) {
  static final String TYPE = "orlop.drift.verdict";
  static final String DETECTOR = "polya-e-detector";
  static final int DETECTOR_VERSION = 1;

  private static final ObjectMapper JSON = new ObjectMapper();

  /** Key of the record: one verdict per feature survives in a compacted topic. */
  byte[] key() {
    return (model + "/" + feature).getBytes(UTF_8);
  }

  byte[] value() {
    ObjectNode json = JSON.createObjectNode();
    json.put("model", model);
    json.putObject("feature").put("tensor", feature.tensor()).put("index", feature.index());
    json.put("direction", alarm.direction().word());
    Effects effects = alarm.effects();
    ObjectNode effect = json.putObject("effect");
    if (Double.isFinite(effects.shiftSd())) {
      effect.put("shiftSd", effects.shiftSd());
    } else {
      effect.putNull("shiftSd");
    }
    effect.put("ks", effects.ks()).put("psi", effects.psi());
    effect.put("psiNull95", effects.psiNull95()).put("window", effects.window());
    json.put("recordsSinceBaseline", alarm.rowsSinceBaseline());
    json.put("recordsSinceChange", alarm.rowsSinceChange());
    json.put("evidence", alarm.evidenceLog10());
    json.putObject("budget").put("falseAlarmsPerDay", budgetPerDay);
    json.put("firstSeen", Instant.ofEpochMilli(alarm.changeMs()).toString());
    json.put("at", Instant.ofEpochMilli(atMs).toString());
    json.put("event", eventId);
    json.putObject("detector")
        .put("name", DETECTOR)
        .put("version", DETECTOR_VERSION)
        .put("bet", alarm.bet());
    try {
      return JSON.writeValueAsBytes(json);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("verdict on " + model + "/" + feature, e);
    }
  }

  Headers headers(String source) {
    RecordHeaders headers = new RecordHeaders();
    add(headers, PayloadEvent.SPECVERSION, "1.0");
    add(headers, PayloadEvent.ID, model + "/" + feature + "@" + position);
    add(headers, PayloadEvent.TYPE, TYPE);
    add(headers, PayloadEvent.SOURCE, source);
    add(headers, PayloadEvent.TIME, Instant.ofEpochMilli(atMs).toString());
    add(headers, PayloadEvent.MODEL_ID, model);
    add(headers, PayloadEvent.CONTENT_TYPE, "application/json");
    return headers;
  }

  private static void add(RecordHeaders headers, String name, String value) {
    headers.add(name, value.getBytes(UTF_8));
  }
}
