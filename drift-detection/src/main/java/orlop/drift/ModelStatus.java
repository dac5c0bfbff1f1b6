package orlop.drift;

import java.util.List;

/**
 * What an onlooker may know of one model.
 *
 * @param rows payloads seen since this process took the model on
 * @param unwatchedValues values of features beyond the server's limit
 */
record ModelStatus(String model, long rows, long unwatchedValues, List<FeatureStatus> features) {}
